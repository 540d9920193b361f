// Whatever happens to text that comes from outside, it is read or refused: a fixed round of mutations of real inputs,
// under the sanitizers, too.
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "envs/build_context.hpp"
#include "envs/docker_ignore.hpp"
#include "envs/lock.hpp"
#include "envs/specification.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "tests/unit/mutations.hpp"

using namespace runner;
using namespace runner::envs;

namespace {

constexpr int kRounds = 3'000;

// How many of the mutations were refused; anything but Error ends the test.
int refused(const std::string& seed_text, const std::function<void(const std::string&)>& read) {
  const std::string bytes("\0\t\n\r \\-:;,[](){}<>=!~@&*#|'\"$%^`+/.\xff\xc3", 37);
  int count = 0;
  const auto attempt = [&](const std::string& text) {
    try {
      read(text);
    } catch (const Error&) {
      ++count;
    }
  };
  for (std::size_t length = 0; length <= seed_text.size(); ++length) attempt(seed_text.substr(0, length));
  for_each_mutation(seed_text, bytes, kRounds, attempt);
  return count;
}

}  // namespace

TEST_CASE("damaged requirements are read or refused") {
  const std::string seed =
      "# a comment\n--index-url https://user:pw@host/simple\n-f ./wheels\nnumpy[all,mkl]>=1.20,<2 ; python_version < "
      "'3.9' "
      "and sys_platform == \"linux\" \\\n  --hash=sha256:" +
      std::string(64, 'a') +
      "\npkg @ https://host/pkg-1.0-py3-none-any.whl#sha256=00\n./local-1.0.tar.gz\n-c none.txt\nx===1\n${A}b\n";
  CHECK(refused(seed, [](const std::string& text) { parse_requirements(text, "r.txt", "/nowhere"); }) > 100);
}

TEST_CASE("damaged requirements and match specs are read or refused, one by one") {
  CHECK(refused("Foo_Bar[b,A] >=1.0,!=1.5 ; (python_version < '3.9' or extra == 'x')",
                [](const std::string& text) { normalised_requirement(text); }) > 100);
  CHECK(refused("conda-forge/linux-64::numpy[version='>=1.8,<2|1.9.*',build=py*_0,channel=x]",
                [](const std::string& text) { normalised_match_spec(text); }) > 100);
}

TEST_CASE("a damaged Dockerfile is read or refused") {
  const std::string seed =
      "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=$BUILDPLATFORM debian:${V:-12} AS base\nRUN "
      "<<EOF\nCOPY not\nEOF\n"
      "COPY --from=base --chown=1:1 a b\nADD [\"x y\", \"/z\"]\nFROM base\nCOPY . /app\nCMD [\"a\", `\n\"b\"]\n";
  CHECK(refused(seed, [](const std::string& text) {
          needs_context(text);
          base_images(text, {{"V", "13"}});
        }) > 100);
}

TEST_CASE("damaged ignore rules are read or refused") {
  const std::string seed = "# c\n**/*.py[co]\n!keep/**/x?.txt\n/a//b/../c/\n\\!odd\nd[^a-z]*\n\\\\end\n";
  CHECK(refused(seed, [](const std::string& text) {
          const DockerIgnore rules(text, ".dockerignore");
          for (const char* path : {"a/b/c", "keep/y/x1.txt", "d0", "z.pyc", "\xff/\n"}) rules.ignores(path);
          rules.may_return_below("keep");
        }) > 10);
}

TEST_CASE("an ignore rule full of stars takes no time") {
  std::string pattern;
  for (int i = 0; i < 30; ++i) pattern += "*a**/";
  const DockerIgnore rules(pattern + "b\n", ".dockerignore");
  std::string path;
  for (int i = 0; i < 40; ++i) path += "aaaaaaaa/";
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(rules.ignores(path + "c"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));  // not the age of the universe
}

TEST_CASE("damaged documents of the database are read or refused") {
  Specification wanted;
  wanted.kind = SpecificationKind::kConda;
  wanted.conda = {"python=3.11"};
  wanted.files = {{"/a", "00"}};
  CHECK(refused(to_json(wanted), [](const std::string& text) { specification_from_json(text); }) > 100);
  const Lock lock{
      .python_version = "3.11", .image = "sha256:0", .packages = {{.manager = "pip", .name = "a", .version = "1"}}};
  CHECK(refused(to_json(lock), [](const std::string& text) { lock_from_json(text); }) > 100);
}
