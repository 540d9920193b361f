#include "envs/specification.hpp"

#include <catch2/catch.hpp>

#include "envs/lock.hpp"

using namespace runner::envs;

namespace {

Specification venv() {
  Specification wanted;
  wanted.kind = SpecificationKind::kVenv;
  wanted.pip = {"numpy==1.26", "pandas"};
  wanted.pip_options = {"--index-url=https://host/simple"};
  return wanted;
}

LockedPackage package(const char* name, const char* version, const char* hash = "") {
  return {.manager = "pip", .name = name, .version = version, .hash = hash};
}

}  // namespace

TEST_CASE("a specification comes back from its document") {
  Specification wanted = venv();
  wanted.files = {{"/a.whl", "00"}};
  wanted.build_arguments = {{"K", "v"}};
  CHECK(specification_from_json(to_json(wanted)) == wanted);
}

TEST_CASE("the identity says every input a line, and changes with each") {
  const BuildBase base{.platform = "linux-x86_64", .base = "cpython 3.11.7"};
  CHECK(identity_text(venv(), base) ==
        "kind: venv\nplatform: linux-x86_64\nbase: cpython 3.11.7\npipOptions: --index-url=https://host/simple\n"
        "pip: numpy==1.26\npip: pandas\n");
  Specification other = venv();
  other.pip[0] = "numpy==1.27";
  CHECK(identity_of(other, base) != identity_of(venv(), base));
  CHECK(identity_of(venv(), {.platform = base.platform, .base = "cpython 3.12.0"}) != identity_of(venv(), base));
}

TEST_CASE("no value can look like another input") {
  Specification one;
  one.kind = SpecificationKind::kDockerfile;
  one.dockerfile = "FROM x\nimage: y";
  Specification other = one;
  other.dockerfile = "FROM x";
  other.image = "y";
  CHECK(identity_of(one, {}) != identity_of(other, {}));
}

TEST_CASE("where a Dockerfile and its context lie is no part of the identity, what they hold is") {
  Specification one;
  one.kind = SpecificationKind::kDockerfile;
  one.dockerfile = "FROM x\n";
  one.context = "/a";
  one.dockerfile_path = "/a/Dockerfile";
  Specification other = one;
  other.context = "/b";
  other.dockerfile_path = "/b/Dockerfile";
  CHECK(identity_of(one, {}) == identity_of(other, {}));
  other.context_digest = "00";
  CHECK(identity_of(one, {}) != identity_of(other, {}));
}

TEST_CASE("two locks differ by what was added, changed and left out") {
  const Lock before{.python_version = "3.11.1", .image = {}, .packages = {package("a", "1"), package("b", "1"), package("d", "1", "x")}};
  const Lock after{.python_version = "3.11.2", .image = {}, .packages = {package("a", "2"), package("c", "1"), package("d", "1", "y")}};
  CHECK(difference(before, after) == std::vector<std::string>{"Python: 3.11.1 → 3.11.2", "a: 1 → 2 (pip)", "b: gone, was 1 (pip)",
                                                              "c: added, 1 (pip)",
                                                              "d: 1, another file of the same version (pip)"});
  CHECK(difference(before, before).empty());
  CHECK(lock_from_json(to_json(before)) == before);
}
