#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_writer.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

// `gc` and recovery know the prefix as what a crash left behind.
fs::path temporary_sibling(const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  return target.parent_path() / (".tmp-" + std::to_string(::getpid()) + "-tree-" + std::to_string(counter++));
}

}  // namespace

void materialize(const ContentReader& store, const Hash& id, const fs::path& target) {
  if (::access(target.c_str(), F_OK) == 0) return;
  if (!store.contains(id)) throw Error(ErrorCode::kNotFound, "no snapshot " + id.hex());
  const fs::path temporary = temporary_sibling(target);
  if (::mkdir(temporary.c_str(), 0755) != 0) throw errno_error(errno, "mkdir " + temporary.string());
  try {
    auto root = std::make_shared<const os::Fd>(os::open_file(temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TreeWriter writer(store, root->get());
    writer.add_tree(std::move(root), id, target.string());
    writer.finish();
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0 && errno != EEXIST)
      throw errno_error(errno, "rename to " + target.string());
  } catch (...) {
    os::remove_tree(temporary);
    throw;
  }
  if (::access(temporary.c_str(), F_OK) == 0) os::remove_tree(temporary);  // somebody else was first
}

}  // namespace runner::snapshot
