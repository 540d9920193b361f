// Where the source came from: a read-only look at the repository around a directory. Nothing from the repository is
// ever executed (no hooks, filters, fsmonitor), nothing is fetched, no environment variable redirects it, and nothing
// that would hold up its reader (a FIFO in place of a file) is opened. Any thread, after `start`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::git {

// Once, before any other thread uses libgit2: its options are global and not made for several threads. Nobody has to
// call it where there is one thread.
void start();

// Is there anything like a repository at or above `directory` (canonical) on its file system? A few stats.
bool may_have_repository(const std::filesystem::path& directory);

// What git's ignore rules leave of the files that git does not track: the pipeline passes snapshot/, whose rules are
// exactly git's (libgit2's are not).
struct UntrackedFiles {
  std::vector<std::string> paths;  // relative to the directory, sorted; a nested repository is one, ending in '/'
  std::int64_t more = 0;           // not listed
};
using HasUntracked = std::function<bool(const std::filesystem::path& directory)>;
using ListUntracked = std::function<UntrackedFiles(const std::filesystem::path& directory)>;

// The state as DESIGN.md defines it; nothing if `directory` is in no repository's work tree. A repository that cannot
// be read (damaged, SHA-256 objects, bare) is nothing plus a line in `notes`: git never stops a run. Without
// `has_untracked` untracked files do not count.
std::optional<GitState> read_state(const std::filesystem::path& directory, std::vector<std::string>& notes,
                                   const HasUntracked& has_untracked = {});

// The state and what the commit does not hold of the source directory's files.
struct Source {
  GitState state;
  // For `git apply --binary` on the commit at the repository's root: the tracked files as they are in the work tree.
  // Empty: they are as committed. What is left out is marked by a line "# runner: …" and a note.
  std::string patch;
  // One path a line, relative to the source directory, as `git -c core.quotePath=false ls-files -o --exclude-standard`
  // has them; behind an empty line "and N more". Empty: none.
  std::string untracked;
};
struct Untracked {
  HasUntracked has;    // for submodules
  ListUntracked list;  // for the source directory
};
inline constexpr std::size_t kPatchLimit = std::size_t{16} << 20;  // bytes
std::optional<Source> read_source(const std::filesystem::path& directory, std::vector<std::string>& notes,
                                  const Untracked& untracked, std::size_t patch_limit = kPatchLimit);

// "https://user:secret@host/x.git" → "https://host/x.git"; scp-like and local forms unchanged but for credentials. Over
// SSH the user's name stays (it is part of the address), a password goes; a query of an http URL goes whole.
std::string strip_credentials(const std::string& url);

// Azure ML's and MLflow's immutable properties; absent facts are absent.
std::map<std::string, std::string> properties_of(const GitState& state);

}  // namespace runner::git
