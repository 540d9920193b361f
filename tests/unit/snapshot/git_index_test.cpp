// The reader of git's index against git itself, and against indexes that nobody would write.
#include "runner/os/git_index.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "runner/core/error.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace runner::test;
using runner::Error;
using runner::os::GitIndex;

namespace {

std::vector<std::string> paths_below(const GitIndex& index, std::string_view prefix) {
  const auto range = index.below(prefix);
  std::vector<std::string> paths;
  for (std::size_t at = range.first; at < range.last; ++at) paths.emplace_back(index.entries()[at].path);
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
    const auto index = GitIndex::read(dir.path() / ".git/index");
    CHECK(paths_below(index, "") == split_nul(git(dir.path(), {"ls-files", "-z"})));
    const auto below = paths_below(index, "d3/");
    CHECK(below == split_nul(git(dir.path(), {"ls-files", "-z", "d3/"})));
    CHECK(!below.empty());
  }
}

TEST_CASE("submodules are told from files in an index, and intent-to-add counts") {
  const TempDir dir;
  make_tracked(dir.path());
  git(dir.path(), {"update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,module"});
  write_file(dir.path() / "intended", "");
  git(dir.path(), {"add", "-N", "intended"});
  const auto index = GitIndex::read(dir.path() / ".git/index");
  std::vector<std::string> modules;
  std::vector<std::string> intended;
  for (const auto& entry : index.entries()) {
    if (entry.type() == runner::os::kGitSubmodule) modules.emplace_back(entry.path);
    if (entry.intent_to_add) intended.emplace_back(entry.path);
  }
  CHECK(modules == std::vector<std::string>{"module"});
  CHECK(intended == std::vector<std::string>{"intended"});
}

TEST_CASE("an index that cannot be read is refused, an absent one is empty") {
  const TempDir dir;
  make_tracked(dir.path());
  const fs::path file = dir.path() / ".git/index";
  CHECK(GitIndex::read(dir.path() / "absent").entries().empty());
  SECTION("a split index") {
    git(dir.path(), {"update-index", "--split-index"});
    CHECK_THROWS_AS(GitIndex::read(file), Error);
  }
  SECTION("a directory in its place") { CHECK_THROWS_AS(GitIndex::read(dir.path() / ".git"), Error); }
  SECTION("cut short anywhere") {
    for (const char* version : {"2", "4"}) {
      git(dir.path(), {"update-index", "--index-version", version});
      const std::string good = runner::test::read_file(file);
      for (std::size_t length = 0; length < 31; ++length)
        CHECK_THROWS_AS(GitIndex::parse(good.substr(0, length)), Error);
    }
  }
  SECTION("damage anywhere is found or harmless") {
    for (const char* version : {"2", "4"}) {
      git(dir.path(), {"update-index", "--index-version", version});
      const std::string good = runner::test::read_file(file);
      for (std::size_t at = 0; at < good.size(); at += 3) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ 0xff);
        try {
          const auto index = GitIndex::parse(bytes);  // must not crash, and its paths must be sorted
          const auto& entries = index.entries();
          REQUIRE(std::is_sorted(entries.begin(), entries.end(),
                                 [](const auto& a, const auto& b) { return a.path < b.path; }));
        } catch (const Error&) {  // refused: as good
        }
      }
    }
  }
}
