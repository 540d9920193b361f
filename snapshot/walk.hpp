// The one walk over a source directory: everything that is in, nothing that is out is opened. Both threads of the pool
// walk.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "runner/os/fd.hpp"
#include "snapshot/scope.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {

// What a visitor keeps of a directory; its subdirectories' visits get it.
class WalkNode {
 public:
  virtual ~WalkNode() = default;
};

struct WalkedDirectory {
  std::shared_ptr<const os::Fd> fd;
  std::string path;  // from the source directory: "" or "a/b/"
  // Deep down a tree directories are not kept open: the visitor is done with `fd` when it returns.
  bool is_deep = false;
  int worker = 0;  // the thread of the pool that is here
};

class WalkVisitor {
 public:
  virtual ~WalkVisitor() = default;
  // Once for each directory that is in, parents first, otherwise in any order, on the pool's threads. `files`: those
  // that are in, regular files and symbolic links, ascending. `subdirectories`: how many visits, or calls of
  // `left_out`, with the returned node as the parent will follow.
  virtual std::shared_ptr<WalkNode> directory(const WalkedDirectory& at, std::shared_ptr<WalkNode> parent,
                                              std::vector<std::string> files, std::size_t subdirectories) = 0;
  // A subdirectory proves to be out once it is open: a virtual environment, unreadable.
  virtual void left_out(const std::shared_ptr<WalkNode>& parent) = 0;
};

// Unreadable directories and skipped special files are left in the scope's lists. Error(kInvalid) for a tree that
// changes under the walk or is deeper than 2 000 directories. Returns when the pool has nothing left to do.
void walk(Scope& scope, WalkVisitor& visitor, WorkPool& pool);

}  // namespace runner::snapshot
