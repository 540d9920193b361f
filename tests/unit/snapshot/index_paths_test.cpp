// The quick reader of git's index against git itself, and against indexes that nobody would write.
#include "snapshot/index_paths.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "support.hpp"

namespace fs = std::filesystem;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

std::vector<std::string> paths_of(const IndexPaths& index) {
  std::vector<std::string> paths;
  for (const auto& path : index.paths) paths.emplace_back(index.bytes.data() + path.at, path.length);
  return paths;
}

// A repository with an index of about 300 paths, long and short, in many directories.
void make_tracked(const fs::path& directory) {
  git(directory, {"init", "-q"});
  for (int i = 0; i < 300; ++i)
    write_file(directory / ("d" + std::to_string(i % 7)) / std::string(static_cast<std::size_t>(i % 40), 'x') /
                   std::to_string(i),
               "");
  write_file(directory / "odd \n name", "");
  git(directory, {"add", "-A"});
}

}  // namespace

TEST_CASE("the paths of an index are those that git lists, in every version") {
  const TempDir dir;
  make_tracked(dir.path());
  for (const char* version : {"2", "3", "4"}) {
    git(dir.path(), {"update-index", "--index-version", version});
    if (version[0] == '3') git(dir.path(), {"update-index", "--skip-worktree", "d1/x/1"});  // makes it a real one
    const auto index = read_index_paths(dir.path() / ".git/index", "");
    REQUIRE(index);
    CHECK(paths_of(*index) == split_nul(git(dir.path(), {"ls-files", "-z"})));
    const auto below = read_index_paths(dir.path() / ".git/index", "d3/");
    REQUIRE(below);
    CHECK(paths_of(*below) == split_nul(git(dir.path(), {"ls-files", "-z", "d3/"})));
    CHECK(!below->paths.empty());
  }
}

TEST_CASE("submodules are told from files, intent-to-add counts, conflicts are one path") {
  const TempDir dir;
  make_tracked(dir.path());
  git(dir.path(), {"update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,module"});
  write_file(dir.path() / "intended", "");
  git(dir.path(), {"add", "-N", "intended"});
  const auto index = read_index_paths(dir.path() / ".git/index", "");
  REQUIRE(index);
  const auto paths = paths_of(*index);
  const auto module = static_cast<std::size_t>(std::find(paths.begin(), paths.end(), "module") - paths.begin());
  REQUIRE(module < paths.size());
  CHECK(index->paths[module].repository);
  CHECK(std::count_if(index->paths.begin(), index->paths.end(), [](const auto& path) { return path.repository; }) == 1);
  CHECK(std::count(paths.begin(), paths.end(), "intended") == 1);
}

TEST_CASE("what only libgit2 may judge is left to it") {
  const TempDir dir;
  make_tracked(dir.path());
  const fs::path file = dir.path() / ".git/index";
  CHECK(read_index_paths(dir.path() / "absent", "")->paths.empty());
  SECTION("a split index") {
    git(dir.path(), {"update-index", "--split-index"});
    CHECK_FALSE(read_index_paths(file, ""));
  }
  SECTION("a directory in its place") { CHECK_FALSE(read_index_paths(dir.path() / ".git", "")); }
  SECTION("damage anywhere is found or harmless") {
    for (const char* version : {"2", "4"}) {
      git(dir.path(), {"update-index", "--index-version", version});
      const std::string good = runner::test::read_file(file);
      for (std::size_t length = 0; length < good.size(); length += 13) {
        write_file(dir.path() / "cut", good.substr(0, length));
        if (length > 0) CHECK_FALSE(read_index_paths(dir.path() / "cut", ""));
      }
      for (std::size_t at = 0; at < good.size(); at += 3) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ 0xff);
        write_file(dir.path() / "bent", bytes);
        const auto index = read_index_paths(dir.path() / "bent", "");  // must not crash; paths lie within the bytes
        if (!index) continue;
        for (const auto& path : index->paths) REQUIRE(std::size_t{path.at} + path.length <= index->bytes.size());
      }
    }
  }
}
