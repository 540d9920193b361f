#include "runner/pipeline/script_reach.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "runner/os/file.hpp"

namespace runner::pipeline::script_reach_test {
namespace {

using std::filesystem::path;

struct Place {
  path root;
  Place() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-reach-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = std::filesystem::canonical(name);
    for (const char* one : {"w/sub", "w2", "other/sub"}) os::make_directories(root / one);
  }
  ~Place() { os::remove_tree(root); }
  bool leads(const path& to) const { return leads_through(root / to, {root / "w", root / "w2"}); }
  void link(const path& target, const path& name) const { std::filesystem::create_symlink(target, root / name); }
};

}  // namespace

TEST_CASE("a path beside what can be written to does not lead through it") {
  const Place place;
  CHECK_FALSE(place.leads("other"));
  CHECK_FALSE(place.leads("other/sub"));
  CHECK_FALSE(place.leads("wide"));
  CHECK_FALSE(place.leads("."));
  CHECK_FALSE(leads_through("/", {place.root}));
  CHECK_FALSE(leads_through(place.root / "w/sub", {}));
  CHECK_FALSE(place.leads("w"));  // what is mounted is not moved from within
  CHECK_FALSE(place.leads("w2/"));
}

TEST_CASE("a path below what can be written to leads through it, whatever is there now") {
  const Place place;
  CHECK(place.leads("w/sub"));
  CHECK(place.leads("w/sub/deep"));
  CHECK(place.leads("w/none"));
  CHECK(place.leads("w/sub/../../other"));
  CHECK(place.leads("other/../w/sub"));
}

TEST_CASE("links lead where they name") {
  const Place place;
  SECTION("a link into it") {
    place.link("../w", "other/link");
    CHECK(place.leads("other/link/sub"));
    CHECK_FALSE(place.leads("other/link"));
  }
  SECTION("a link to something in it") {
    place.link(place.root / "w/sub", "other/link");
    CHECK(place.leads("other/link"));
  }
  SECTION("by way of it to somewhere else") {
    place.link("../other", "w/out");
    place.link("w/out", "in");
    CHECK(place.leads("in"));
    CHECK(place.leads("in/sub"));
  }
  SECTION("what can be written to is named by a link") {
    place.link("other", "alias");
    CHECK(leads_through(place.root / "other/sub", {place.root / "alias"}));
    CHECK_FALSE(leads_through(place.root / "other", {place.root / "alias"}));
  }
  SECTION("round and round") {
    place.link("b", "a");
    place.link("a", "b");
    CHECK(place.leads("a"));
  }
}

}  // namespace runner::pipeline::script_reach_test
