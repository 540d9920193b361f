// Whatever an Engine or a registry's configuration says, it is read or passed over: rounds of mutations of real
// answers, under the sanitizers, too.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "runner/engine/build_answer.hpp"
#include "runner/engine/pull_progress.hpp"
#include "runner/engine/registry_credentials.hpp"
#include "runner/os/file.hpp"
#include "tests/unit/mutations.hpp"

namespace runner::engine {
namespace {

constexpr int kRounds = 3'000;

void with_damage(const std::string& seed, int rounds, const std::function<void(const std::string&)>& read) {
  for_each_mutation(seed, std::string("\0\n\r {}[]\":,\\-+0eE.tfn\x1b\xff\xc3", 25), rounds, read);
}

// In two pieces: lines end anywhere.
template <class Stream>
void feed(Stream& stream, const std::string& text) {
  stream.feed(std::string_view(text).substr(0, text.size() / 3));
  stream.feed(std::string_view(text).substr(text.size() / 3));
}

const std::string kBuild =
    R"({"stream":"Step 1/3 : FROM debian"}
{"status":"Pulling fs layer","progressDetail":{"current":10,"total":20},"id":"a1"}
{"stream":"\n"}
{"stream":" ---\u003e 0123456789ab\nSTEP 2/3: RUN x\n"}
{"stream":"[1/2] STEP 3/3: RUN make\n"}
{"aux":{"ID":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}
{"errorDetail":{"code":7,"message":"The command '/bin/sh -c x' returned a non-zero code: 7"},"error":"it returned"}
{"stream":"Successfully built 0123456789ab\n"}
)";

}  // namespace

TEST_CASE("a damaged build answer is read or passed over") {
  std::size_t lines = 0;
  const BuildListener listener{.on_line = [&](std::string_view) { ++lines; },
                               .on_step =
                                   [&](const BuildStep& step) {
                                     CHECK(step.number >= 0);
                                     CHECK(step.total >= 0);
                                   },
                               .on_progress = [](const std::string&) {}};
  with_damage(kBuild, kRounds, [&](const std::string& text) {
    BuildAnswer answer(listener);
    feed(answer, text);
    answer.end();
  });
  CHECK(lines > kRounds);
}

TEST_CASE("values of any type in a build answer are passed over") {
  for (const char* value : {"null", "1e999", "-1", "[]", "{}", "\"x\"", "true", "[[[[{}]]]]", "18446744073709551615"})
    for (const char* name : {"stream", "status", "id", "progressDetail", "aux", "errorDetail", "error"}) {
      const BuildListener listener;
      BuildAnswer answer(listener);
      const std::string quoted = std::string("{\"") + name + "\":" + value + "}\n";
      answer.feed(quoted);
      answer.feed(std::string("{\"errorDetail\":{\"code\":") + value + ",\"message\":" + value + "}}\n");
      answer.feed(std::string("{\"id\":\"a\",\"progressDetail\":{\"current\":") + value + ",\"total\":" + value +
                  "}}\n");
      answer.end();
      PullProgress progress;
      progress.feed(quoted);
      progress.feed(std::string("{\"id\":\"a\",\"status\":\"Downloading\",\"progressDetail\":{\"current\":") + value +
                    ",\"total\":" + value + "}}\n");
      progress.line();
    }
}

TEST_CASE("a line without an end and one that is nested without end are no message") {
  const BuildListener listener;
  BuildAnswer answer(listener);
  for (int i = 0; i < 64; ++i) answer.feed(std::string(1 << 16, 'x'));
  answer.feed("\n{\"aux\":" + std::string(100'000, '[') + "\n");
  answer.feed("{\"aux\":{\"ID\":\"sha256:1\"}}\n");
  answer.end();
  CHECK(answer.image() == "sha256:1");
}

TEST_CASE("a damaged pull is read or passed over") {
  with_damage(
      "{\"status\":\"Pulling from a/b\",\"id\":\"1\"}\n{\"status\":\"Downloading\",\"id\":\"x\",\"progressDetail\":"
      "{\"current\":100,\"total\":2000},\"progress\":\"[=> ]\"}\n{\"status\":\"Pull complete\",\"id\":\"x\"}\n"
      "{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}\n",
      kRounds, [](const std::string& text) {
        PullProgress progress;
        feed(progress, text);
        progress.line();
      });
}

TEST_CASE("a damaged configuration of docker is a warning at most") {
  std::string pattern = (std::filesystem::temp_directory_path() / "runner-damaged-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  with_damage(
      R"({"auths":{"host:5000":{"auth":"dXNlcjpwYXNz"},"https://index.docker.io/v1/":{"identitytoken":"t"},"b":{}},)"
      R"("credHelpers":{"h":"no-such-helper"},"HttpHeaders":{"a":"b"}})",
      kRounds / 3, [&](const std::string& text) {
        std::ofstream(pattern + "/config.json") << text;
        RegistryCredentials credentials({{"DOCKER_CONFIG", pattern}, {"PATH", pattern}});
        for (const char* image : {"host:5000/a", "debian", "h/x"}) credentials.auth_for(image);
        credentials.config_for({"host:5000/a", "debian"});
      });
  os::remove_tree(pattern);
}

}  // namespace runner::engine
