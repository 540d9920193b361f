// The oracle is moby/patternmatcher itself: dockerignore/main.go has asked it (go run . SEED COUNT).
#include "envs/docker_ignore.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;

bool ignores(const std::string& rules, const std::string& path) { return DockerIgnore(rules, "i").ignores(path); }

std::optional<DockerIgnore> read(const std::string& rules) {
  try {
    return DockerIgnore(rules, "i");
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

TEST_CASE("a .dockerignore means what moby makes of it") {
  const char* other = std::getenv("RUNNER_DOCKERIGNORE_CASES");  // a longer file than the one that is kept
  std::ifstream file(other != nullptr ? other : RUNNER_SOURCE_DIR "/tests/unit/envs/dockerignore/cases.jsonl");
  int verdicts = 0;
  int refused = 0;
  for (std::string line; std::getline(file, line);) {
    const json one = json::parse(line);
    const auto rules = one["rules"].get<std::string>();
    INFO("rules: " << rules);
    const auto ignore = read(rules);
    CHECK(ignore.has_value() == !one["error"].get<bool>());
    if (!ignore) {
      ++refused;
      continue;
    }
    for (std::size_t i = 0; i < one["paths"].size(); ++i, ++verdicts) {
      const auto path = one["paths"][i].get<std::string>();
      INFO("path: " << path);
      CHECK(ignore->ignores(path) == one["ignored"][i].get<bool>());
      // What may come back below an ignored directory is never missed.
      for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        if (!ignore->ignores(path) && ignore->ignores(path.substr(0, slash)))
          CHECK(ignore->may_return_below(path.substr(0, slash)));
    }
  }
  CHECK(verdicts > 1000);
  CHECK(refused > 10);
}

TEST_CASE("comments, blanks, a byte order mark and line ends of other systems are no part of a pattern") {
  CHECK(
      ignores("\xEF\xBB\xBF"
              "a\r\n",
              "a"));
  CHECK_FALSE(ignores("#a\n", "a"));
  CHECK(ignores("\n\n  a  \n", "a"));
  CHECK(ignores("/a/", "a/b"));
  CHECK(ignores("./a/../b", "b"));
}

TEST_CASE("a bad pattern is told with its place") {
  const auto why = [](const std::string& rules) {
    try {
      const DockerIgnore ignore(rules, ".dockerignore");
    } catch (const Error& error) {
      return error.message();
    }
    return std::string();
  };
  CHECK(why("ok\n[a\n") == ".dockerignore:2: bad pattern \"[a\"");
  CHECK(why("#x\n\n!\n") == ".dockerignore:3: a \"!\" without a pattern");
}

TEST_CASE("a directory is entered only where something may come back") {
  const DockerIgnore ignore("*\n!docs/*.md\n!src/main.c\n", "i");
  CHECK(ignore.may_return_below("docs"));
  CHECK(ignore.may_return_below("src"));
  CHECK_FALSE(ignore.may_return_below("src/deep"));
  CHECK_FALSE(ignore.may_return_below("node_modules"));
  CHECK(DockerIgnore("*\n!**/*.md\n", "i").may_return_below("anything/at/all"));
  CHECK_FALSE(DockerIgnore("*\n", "i").may_return_below("a"));
}

TEST_CASE("a pattern with many stars ends all the same") {
  std::string pattern;
  for (int i = 0; i < 40; ++i) pattern += "a*";
  CHECK_FALSE(ignores(pattern + "b", std::string(400, 'a')));
  std::string deep = "**/";
  for (int i = 0; i < 40; ++i) deep += "a/**/";
  std::string path;
  for (int i = 0; i < 400; ++i) path += "a/";
  CHECK_FALSE(ignores(deep + "b", path + "c"));
}

}  // namespace runner::envs
