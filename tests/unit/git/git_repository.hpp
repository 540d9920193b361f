// What the tests of git/ share: repositories made by the real git in temporary directories, and what it says of them.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "git/git_state.hpp"
#include "runner/os/process.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::git::test {

namespace fs = std::filesystem;

struct TempDir {
  TempDir() {
    std::string pattern = (fs::canonical(fs::temp_directory_path()) / "runner-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

inline const fs::path& test_home() {
  static const TempDir home;
  return home.path;
}

// Before libgit2 starts: the developer's own configuration does not count.
inline const bool home_is_set = [] {
  ::setenv("HOME", test_home().c_str(), 1);
  ::unsetenv("XDG_CONFIG_HOME");
  return true;
}();

inline runner::os::Captured run_git(const fs::path& directory, const std::vector<std::string>& arguments) {
  static const auto program = runner::os::find_program("git", "/usr/local/bin:/usr/bin:/bin").value();
  runner::os::SpawnRequest request{
      .arguments = {program.string(), "-C", directory.string()},
      .environment = {"HOME=" + test_home().string(), "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
                      "PATH=/usr/local/bin:/usr/bin:/bin", "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t",
                      "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t"},
      .directory = {},
      .descriptors = {}};
  request.arguments.insert(request.arguments.end(),
                           {"-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false"});
  request.arguments.insert(request.arguments.end(), arguments.begin(), arguments.end());
  return runner::os::capture(request, std::chrono::seconds(60));
}

inline std::string git(const fs::path& directory, const std::vector<std::string>& arguments) {
  const auto captured = run_git(directory, arguments);
  INFO("git " << arguments[0] << ": " << captured.err);
  REQUIRE(captured.exit_code == 0);
  std::string out = captured.out;
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

inline void write(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline void make_repository(const fs::path& directory) {
  fs::create_directories(directory);
  git(directory, {"init", "-q", "-b", "main"});
}

inline void commit_all(const fs::path& directory) {
  git(directory, {"add", "-A"});
  git(directory, {"commit", "-q", "--allow-empty", "-m", "x"});
}

inline std::optional<Source> source_of(const fs::path& directory, std::vector<std::string>& notes,
                                       std::size_t patch_limit = kPatchLimit) {
  return read_source(directory, notes,
                     {.has = snapshot::has_untracked,
                      .list =
                          [](const fs::path& path) {
                            auto listed = snapshot::list_untracked(path, 10'000);
                            return UntrackedFiles{.paths = std::move(listed.paths), .more = listed.more};
                          }},
                     patch_limit);
}

// Without notes.
inline std::optional<Source> source_of(const fs::path& directory) {
  std::vector<std::string> notes;
  auto source = source_of(directory, notes);
  for (const std::string& note : notes) UNSCOPED_INFO(note);
  CHECK(notes.empty());
  return source;
}

inline std::optional<GitState> state_of(const fs::path& directory) {
  auto source = source_of(directory);
  if (!source) return std::nullopt;
  return std::move(source->state);
}

// What the state must be, in the real git's words: everything but the URL. Untracked files count whatever
// status.showUntrackedFiles says.
inline void check_against_git(const fs::path& directory) {
  INFO("in " << directory);
  const auto source = source_of(directory);
  REQUIRE(source);
  const GitState& state = source->state;
  const auto branch = run_git(directory, {"symbolic-ref", "--short", "-q", "HEAD"});
  CHECK((state.branch ? *state.branch + "\n" : "") == branch.out);
  const auto commit = run_git(directory, {"rev-parse", "-q", "--verify", "HEAD"});
  CHECK((state.commit ? *state.commit + "\n" : "") == commit.out);
  const std::string untracked = git(directory, {"-c", "core.quotePath=false", "ls-files", "-o", "--exclude-standard"});
  CHECK(source->untracked == (untracked.empty() ? "" : untracked + "\n"));
  // Last, and not before: it refreshes the index.
  const std::string status = git(directory, {"--no-optional-locks", "status", "--porcelain", "-unormal", "--", "."});
  INFO("git status: " << status);
  INFO("patch: " << source->patch);
  CHECK(state.dirty == !status.empty());
}

}  // namespace runner::git::test
