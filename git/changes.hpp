// What stands in a work tree that its last commit does not have. Private to git/.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "git/git_state.hpp"
#include "git/head_files.hpp"
#include "git/work_files.hpp"

namespace runner::git {

// One path, HEAD against the work tree.
struct Change {
  std::string path;            // from the work tree's root
  std::uint32_t old_mode = 0;  // 0: not in HEAD
  os::GitId old_id{};
  std::uint32_t new_mode = 0;  // 0: removed
  std::optional<os::GitId>
      new_id{};  // of the index, where the work tree has the same; else it is for who reads the file
  bool conflict = false;
  bool submodule_dirty = false;  // a submodule with changes of its own
};

struct Changes {
  bool dirty = false;           // as `git status` has it, but for untracked files of the work tree itself
  std::vector<Change> changes;  // sorted by path; empty for staged and changed back
};

// Below `scope`. `untracked` answers for submodules. Reads only; the index is not refreshed on disk. Throws Unreadable,
// Error(kInvalid) for a damaged index.
Changes find_changes(const OpenRepository& repository, const Objects& objects, WorkFiles& files,
                     const std::optional<os::GitId>& head_tree, const std::string& scope, const HasUntracked& untracked,
                     int depth = 0);

}  // namespace runner::git
