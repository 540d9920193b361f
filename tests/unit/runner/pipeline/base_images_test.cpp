#include "runner/pipeline/base_images.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/runner/http/scripted_server.hpp"

using namespace runner;
using namespace runner::pipeline;
using http::test::answer;
using nlohmann::json;

namespace {

struct Known {
  http::test::ScriptedServer server;
  engine::Engine engine;
  explicit Known(http::test::Answers answers) : server(std::move(answers)), engine(server.socket()) {
    engine.use({.api = "/v1.41", .version = "20.10", .os = "linux", .architecture = "amd64"});
  }
};

std::string image(const char* id, const json& triggers = nullptr, const char* architecture = "amd64") {
  const json body{{"Id", id}, {"Os", "linux"}, {"Architecture", architecture}, {"Config", {{"OnBuild", triggers}}}};
  return body.dump();
}

}  // namespace

TEST_CASE("bases are known by their ids once all are here") {
  Known known({answer(200, image("sha256:a")), answer(200, image("sha256:b")), answer(404, "{}")});
  const auto bases = look_at_bases({"a", "b"}, known.engine);
  REQUIRE(bases);
  CHECK(bases->ids == "sha256:a sha256:b");
  CHECK_FALSE(bases->copies_context);
  CHECK_FALSE(look_at_bases({"c"}, known.engine));
}

TEST_CASE("a base of another platform is refused before anything is built on it") {
  Known known({answer(200, image("sha256:a", nullptr, "s390x-of-tests"))});
  CHECK_THROWS_WITH(look_at_bases({"a"}, known.engine), Catch::Contains("is for linux/s390x-of-tests"));
}

TEST_CASE("what a base does to whatever is built on it may need the build context") {
  Known known({answer(200, image("sha256:a", {"RUN true", "COPY --from=x /a /b", "ADD https://x/y /z"})),
               answer(200, image("sha256:b", {"RUN true", "COPY . /app"}))});
  CHECK_FALSE(look_at_bases({"a"}, known.engine)->copies_context);
  CHECK(look_at_bases({"b"}, known.engine)->copies_context);
}

TEST_CASE("the context counts if the Dockerfile or a base copies from it, and a known digest stays") {
  std::string pattern = (std::filesystem::temp_directory_path() / "runner-bases-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  const std::filesystem::path root = pattern;
  std::ofstream(root / "word") << "one";
  envs::Specification plain{.kind = envs::SpecificationKind::kDockerfile, .dockerfile = "FROM x\n"};
  take_context(plain, {.ids = "i"}, root, root);
  CHECK(plain.context.empty());
  CHECK(plain.context_digest.empty());
  take_context(plain, {.ids = "i", .copies_context = true}, root, root);
  CHECK(plain.context == root);
  const std::string digest = plain.context_digest;
  CHECK(digest.size() == 64);
  std::ofstream(root / "word") << "other";
  take_context(plain, {.ids = "i", .copies_context = true}, root, root);
  CHECK(plain.context_digest == digest);
  std::filesystem::remove_all(root);
}
