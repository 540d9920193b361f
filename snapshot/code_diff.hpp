// The difference of two snapshots as people and `git apply` read it: which files changed, what was renamed, and the
// unified diff of text files, in git's form. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/tree_diff.hpp"

namespace runner::snapshot {

enum class ChangeStatus { kAdded, kDeleted, kModified, kRenamed, kTypeChanged };

struct FileChange {
  ChangeStatus status;
  std::string path;      // after; of a deleted file before
  std::string old_path;  // before, of a renamed one; else empty
  std::optional<TreeEntry> before, after;
  int similarity = 0;  // percent, of a renamed one; 100: only the name and perhaps the executable bit
};

// Bytewise by path. A file's directories are no changes of their own; a directory with nothing in it is. Memory grows
// with the number of changes. Errors as of diff_trees.
std::vector<FileChange> changed_files(const ContentReader& store, const Hash& before, const Hash& after);

// Files above this are compared by name only, as are files that hold a zero byte.
inline constexpr std::int64_t kMostTextBytes = 8 << 20;

struct LineCounts {
  bool binary = false;  // of the lines nothing is known
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
};
LineCounts count_lines(const ContentReader& store, const FileChange& change);

// The file's part of the patch, with `diff --git` and everything below it: for text what `git apply` and `patch -p1`
// take, "Binary files … differ" for the rest, nothing for a directory. In pieces of about 64 KiB; a file's two sides
// are in memory meanwhile. Error(kNotFound) or Error(kInternal) naming the file if its content cannot be read.
void write_patch(const ContentReader& store, const FileChange& change, const WriteSome& write);

}  // namespace runner::snapshot
