// What a git work tree says about which files belong to it: tracked paths, where its further ignore files are, its
// letter case. Read through libgit2; nothing of the repository is executed and no environment variable redirects it.
// Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "snapshot/tracked_paths.hpp"

namespace runner::snapshot {

struct WorkTree {
  std::filesystem::path root;           // absolute
  std::string prefix;                   // of the directory asked for, below `root`: "" or "a/b/"
  TrackedPaths tracked;                 // below `prefix` only, but relative to `root`
  bool ignore_case = false;             // core.ignorecase
  std::filesystem::path info_exclude;   // need not exist
  std::filesystem::path excludes_file;  // core.excludesFile, else git's default; empty: none
  std::string warning;                  // not empty: the repository could not be read fully, and what that means
};

// The work tree around `directory` (canonical), as git finds it: the nearest parent with a valid ".git" on the same
// file system. Nothing for a directory outside any, in a bare repository or inside ".git".
std::optional<WorkTree> find_work_tree(const std::filesystem::path& directory);

// The repository whose work tree starts exactly at `directory`: a nested repository or a submodule.
std::optional<WorkTree> open_work_tree(const std::filesystem::path& directory);

}  // namespace runner::snapshot
