#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 65536;  // holes are made of whole blocks of zeros this long

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Writes a file from front to back and leaves holes where there are only zeros, so that a sparse file stays one.
class FileWriter {
 public:
  FileWriter(int fd, const std::string& shown) : fd_(fd), shown_(shown) {}

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto block = bytes.first(std::min(kBlock, bytes.size()));
      bytes = bytes.subspan(block.size());
      if (block.size() == kBlock && is_zero(block)) {
        hole_ += static_cast<off_t>(kBlock);
        continue;
      }
      skip_hole();
      os::write_all(fd_, std::string_view(reinterpret_cast<const char*>(block.data()), block.size()), shown_);
    }
  }

  void finish() {
    if (hole_ == 0) return;
    const off_t end = skip_hole();
    if (::ftruncate(fd_, end) != 0) throw errno_error(errno, "write " + shown_);
  }

 private:
  off_t skip_hole() {
    if (hole_ == 0) return 0;
    const off_t at = ::lseek(fd_, hole_, SEEK_CUR);
    if (at < 0) throw errno_error(errno, "write " + shown_);
    hole_ = 0;
    return at;
  }

  int fd_;
  const std::string& shown_;
  off_t hole_ = 0;
};

class Checkout {
 public:
  explicit Checkout(const ContentReader& store) : store_(store) {}

  // Fills the directory; its descriptor is given up on the way down and got back through "..", so that depth costs
  // none.
  os::Fd fill(os::Fd directory, const Hash& tree, const std::string& shown) {
    for (const TreeEntry& entry : decode_tree(store_.read_all(tree))) {
      const std::string path = shown + "/" + entry.name;
      switch (entry.type) {
        case EntryType::kFile:
          write_file(directory.get(), entry, 0644, path);
          break;
        case EntryType::kExecutable:
          write_file(directory.get(), entry, 0755, path);
          break;
        case EntryType::kSymlink:
          if (::symlinkat(store_.read_all(entry.content).c_str(), directory.get(), entry.name.c_str()) != 0)
            throw errno_error(errno, "symlink " + path);
          break;
        case EntryType::kDirectory: {
          os::Fd child = fill(make_directory(std::move(directory), entry.name, path), entry.content, path);
          directory = os::Fd(::openat(child.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
          if (!directory) throw errno_error(errno, "open " + shown);
          break;
        }
      }
    }
    return directory;
  }

 private:
  static os::Fd make_directory(os::Fd parent, const std::string& name, const std::string& path) {
    if (::mkdirat(parent.get(), name.c_str(), 0755) != 0) throw errno_error(errno, "mkdir " + path);
    os::Fd child(::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child || ::fchmod(child.get(), 0755) != 0) throw errno_error(errno, "mkdir " + path);  // whatever the umask
    return child;
  }

  void write_file(int directory, const TreeEntry& entry, mode_t mode, const std::string& path) {
    const os::Fd fd(
        ::openat(directory, entry.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!fd) throw errno_error(errno, "create " + path);
    if (::fchmod(fd.get(), mode) != 0) throw errno_error(errno, "chmod " + path);
    if (entry.bytes == 0) return;
    FileWriter writer(fd.get(), path);
    store_.read(entry.content, 0, -1, [&writer](std::span<const std::byte> piece) { writer.write(piece); });
    writer.finish();
  }

  const ContentReader& store_;
};

// `gc` and recovery know the prefix as what a crash left behind.
fs::path temporary_sibling(const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  return target.parent_path() / (".tmp-checkout-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
}

}  // namespace

void materialize(const ContentReader& store, const Hash& id, const fs::path& target) {
  if (::access(target.c_str(), F_OK) == 0) return;
  if (!store.contains(id)) throw Error(ErrorCode::kNotFound, "no snapshot " + id.hex());
  const fs::path temporary = temporary_sibling(target);
  if (::mkdir(temporary.c_str(), 0755) != 0) throw errno_error(errno, "mkdir " + temporary.string());
  try {
    os::Fd root = os::open_file(temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (::fchmod(root.get(), 0755) != 0) throw errno_error(errno, "chmod " + temporary.string());
    Checkout(store).fill(std::move(root), id, target.string());
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0 && errno != EEXIST)
      throw errno_error(errno, "rename to " + target.string());
  } catch (...) {
    os::remove_tree(temporary);
    throw;
  }
  if (::access(temporary.c_str(), F_OK) == 0) os::remove_tree(temporary);  // somebody else was first
}

}  // namespace runner::snapshot
