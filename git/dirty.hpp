// Whether the work tree differs from the last commit. Private to git/.
#pragma once

#include <optional>
#include <string>

#include "git/repository_handle.hpp"

namespace runner::git {

enum class Untracked { kCount, kSkip };

// Staged, changed, removed, conflicting and (with kCount) untracked files below `scope` ("" or "a/b/"). Reads only: the
// index is not refreshed on disk, and no filter program of .gitattributes runs (a file under one that has been touched
// counts as changed). Nothing if the repository is damaged.
std::optional<bool> is_dirty(git_repository* repository, const std::string& scope, Untracked untracked);

}  // namespace runner::git
