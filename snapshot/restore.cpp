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
#include "snapshot/directory_entries.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& target, const std::string& why) {
  throw Error(ErrorCode::kConflict, target.string() + ": " + why, "name a directory that does not exist");
}

// Before the work: what would fail at its end.
void require_free(const fs::path& target) {
  struct ::stat info {};
  if (::lstat(target.c_str(), &info) != 0) {
    if (errno != ENOENT) throw errno_error(errno, target.string());
    if (::stat(target.parent_path().c_str(), &info) != 0) throw errno_error(errno, target.parent_path().string());
    return;
  }
  if (!S_ISDIR(info.st_mode)) refuse(target, "is there already and no directory");
  const os::Fd fd = os::open_file(target, O_RDONLY | O_DIRECTORY);
  if (!read_entries(fd.get(), target.string()).empty()) refuse(target, "is not empty");
}

// The prefix of whatever a crash leaves behind.
fs::path temporary_sibling(const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  return target.parent_path() / (".tmp-restore-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
}

}  // namespace

bool is_tree(const ContentReader& store, const Hash& id) {
  if (!store.contains(id)) return false;
  const std::string header = TreeEncoder().bytes();
  std::string front;
  store.read(id, 0, static_cast<std::int64_t>(header.size()), [&front](std::span<const std::byte> piece) {
    front.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return front == header;
}

void restore(const ContentReader& store, const Hash& id, const fs::path& target) {
  require_free(target);
  const fs::path temporary = temporary_sibling(target);
  materialize(store, id, temporary);
  // Takes the place of an empty directory, and of nothing else.
  if (::rename(temporary.c_str(), target.c_str()) == 0) return;
  const int failure = errno;
  os::remove_tree(temporary);
  if (failure == ENOTEMPTY || failure == EEXIST || failure == ENOTDIR)
    refuse(target, "something was put there meanwhile");
  if (failure == EBUSY) refuse(target, "is in use as a mount point");
  throw errno_error(failure, "rename to " + target.string());
}

}  // namespace runner::snapshot
