#include "runner/collect/source_tree.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::collect::source_tree_test {
namespace {

using std::filesystem::path;

struct Place {
  path root;
  Place() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-tree-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = name;
    os::make_directories(source());
    os::make_directories(aside());
  }
  ~Place() { os::remove_tree(root); }
  path trees() const { return root / "trees"; }
  path source() const { return trees() / "t/source"; }
  path aside() const { return root / "aside"; }
  path copy() const { return aside() / "source"; }
  void put(const path& name, const std::string& content) const {
    os::make_directories((source() / name).parent_path());
    std::ofstream(source() / name, std::ios::binary) << content;
  }
  void take() const { HandedOverTrees(trees()).copy_source("t", copy(), {}); }
};

std::string content_of(const path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::set<std::string> names_below(const path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    names.insert(entry.path().lexically_relative(directory).string());
  return names;
}

ErrorCode refused(const path& trees, const std::string& name) {
  try {
    HandedOverTrees(trees).copy_source(name, trees.parent_path() / "aside/none", {});
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("not refused: " << name);
  return ErrorCode::kInternal;
}

}  // namespace

TEST_CASE("a tree is copied with its executable bits and its links, without what is no code") {
  const Place place;
  place.put("train.py", "print()");
  place.put("sub/deep/data.txt", std::string(3 << 20, 'x'));
  place.put(".git/config", "of a repository");
  place.put("sub/.git", "gitdir: elsewhere");
  place.put("tool", "#!/bin/sh");
  ::chmod((place.source() / "tool").c_str(), 0755);
  ::mkfifo((place.source() / "fifo").c_str(), 0600);
  std::filesystem::create_symlink("/etc/passwd", place.source() / "link");
  std::filesystem::create_symlink("/", place.source() / "root");
  place.take();
  CHECK(names_below(place.copy()) ==
        std::set<std::string>{"train.py", "sub", "sub/deep", "sub/deep/data.txt", "tool", "link", "root"});
  CHECK(content_of(place.copy() / "sub/deep/data.txt") == std::string(3 << 20, 'x'));
  CHECK(std::filesystem::read_symlink(place.copy() / "link") == "/etc/passwd");
  CHECK((std::filesystem::status(place.copy() / "tool").permissions() & std::filesystem::perms::owner_exec) !=
        std::filesystem::perms::none);
  CHECK((std::filesystem::status(place.copy() / "train.py").permissions() & std::filesystem::perms::owner_exec) ==
        std::filesystem::perms::none);
}

TEST_CASE("a tree that is none is not found, wherever its name leads") {
  const Place place;
  place.put("x", "x");
  std::filesystem::create_symlink(place.trees() / "t", place.trees() / "link");
  std::filesystem::create_directory(place.trees() / "empty");
  std::filesystem::create_directory(place.trees() / "elsewhere");
  std::filesystem::create_symlink("/etc", place.trees() / "elsewhere/source");
  for (const char* name : {"none", "link", "empty", "elsewhere"})
    CHECK(refused(place.trees(), name) == ErrorCode::kNotFound);
  std::filesystem::rename(place.trees(), place.root / "moved");
  std::filesystem::create_symlink(place.root / "moved", place.trees());
  CHECK(refused(place.trees(), "t") == ErrorCode::kNotFound);
}

TEST_CASE("what is too much of a tree is refused before it fills the disk") {
  const Place place;
  SECTION("bytes") {
    place.put("sparse", "");
    REQUIRE(::truncate((place.source() / "sparse").c_str(), kMaxTreeBytes + 1) == 0);
    CHECK(refused(place.trees(), "t") == ErrorCode::kInvalid);
  }
  SECTION("rules that each name is compared with") {
    place.put(".amlignore", std::string(kMaxIgnoreBytes / 2, 'x'));
    place.put("sub/.gitignore", std::string(kMaxIgnoreBytes / 2 + 1, 'x'));
    CHECK(refused(place.trees(), "t") == ErrorCode::kInvalid);
  }
  SECTION("depth") {
    path deep = place.source();
    for (int i = 0; i < kMaxTreeDepth; ++i) deep /= "d";
    os::make_directories(deep);
    CHECK(refused(place.trees(), "t") == ErrorCode::kInvalid);
  }
}

TEST_CASE("a tree that is removed goes, and a link in its place goes alone") {
  const Place place;
  place.put("x", "x");
  const HandedOverTrees trees(place.trees());
  SECTION("as it was") {
    trees.remove("t", place.aside());
    CHECK(std::filesystem::is_empty(place.trees()));
  }
  SECTION("replaced by a link") {
    std::filesystem::rename(place.trees() / "t", place.root / "kept");
    std::filesystem::create_symlink(place.root / "kept", place.trees() / "t");
    trees.remove("t", place.aside());
    CHECK(std::filesystem::is_empty(place.trees()));
    CHECK(std::filesystem::exists(place.root / "kept/source/x"));
  }
  CHECK(std::filesystem::is_empty(place.aside()));
}

}  // namespace runner::collect::source_tree_test
