// How the index differs from HEAD's tree. Private to git/.
#pragma once

#include <string>
#include <vector>

#include "git/repository_handle.hpp"

namespace runner::git {

struct HeadFile {
  std::string path;  // from the work tree's root
  std::uint32_t mode = 0;
  os::GitId id{};
};

struct HeadFiles {
  // Of the directories in which the index may differ; sorted bytewise.
  std::vector<HeadFile> files;
  // Index entries that are HEAD's own, unread: git's cached tree says so.
  std::vector<os::GitIndex::Range> same;
};

// Below `scope` ("" or "a/b/"). `tree`: HEAD's, nothing for an unborn branch. Reads only the directories that differ.
// Throws Unreadable.
HeadFiles compare_with_head(const Objects& objects, const std::optional<os::GitId>& tree, const os::GitIndex& index,
                            const std::string& scope);

// All files of a tree, with `prefix` before their paths.
void list_tree(const Objects& objects, const os::GitId& tree, const std::string& prefix, std::vector<HeadFile>& into);

}  // namespace runner::git
