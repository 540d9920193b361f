// The one walk over a source directory: everything that is in, nothing that is out is opened.
#pragma once

#include <memory>
#include <string>

#include "runner/os/fd.hpp"
#include "snapshot/scope.hpp"

namespace runner::snapshot {

struct WalkedDirectory {
  std::shared_ptr<const os::Fd> fd;
  std::string path;  // from the source directory: "" or "a/b/"
};

// For each directory: enter, its files, files_done, then its subdirectories, leave.
class WalkVisitor {
 public:
  virtual ~WalkVisitor() = default;
  virtual void enter(const WalkedDirectory& directory) = 0;
  virtual void file(const WalkedDirectory& directory, const std::string& name, bool is_symlink) = 0;
  virtual void files_done(const WalkedDirectory& directory) = 0;
  virtual void leave() = 0;
};

// Unreadable directories and skipped special files are left in the scope's lists. Error(kInvalid) for a tree that
// changes under the walk or is deeper than 2 000 directories.
void walk(Scope& scope, WalkVisitor& visitor);

}  // namespace runner::snapshot
