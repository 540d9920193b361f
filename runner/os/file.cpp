#include "runner/os/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include "runner/core/error.hpp"

namespace runner::os {
namespace {

namespace fs = std::filesystem;

// Unique within the process; the pid makes it unique on the machine. A crash leaves it, `gc` and recovery know ".tmp-".
std::filesystem::path temporary_sibling(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.parent_path() / (".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
}

void write_temporary(const std::filesystem::path& temporary, std::string_view content, Durability durability,
                     mode_t mode) {
  const Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  write_all(fd.get(), content, temporary.string());
  if (durability == Durability::kDurable && ::fdatasync(fd.get()) != 0)
    throw errno_error(errno, "fdatasync " + temporary.string());
}

void sync_directory(const std::filesystem::path& directory) {
  const Fd fd = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (::fsync(fd.get()) != 0) throw errno_error(errno, "fsync " + directory.string());
}

// Whatever its owner did to it, the tree goes: a level costs a descriptor and a stack frame, so what lies deeper than a
// few levels is first moved to the top.
class TreeRemoval {
 public:
  TreeRemoval(int parent_fd, dev_t device) : parent_fd_(parent_fd), device_(device) {}

  void remove(const char* name) {
    struct ::stat info {};
    if (::fstatat(parent_fd_, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode) &&
        info.st_dev == device_) {
      if ((info.st_mode & 0700) != 0700) open_up(parent_fd_, name);
      top_ = ::openat(parent_fd_, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    const Fd owned(top_);
    // Once more while something was moved up behind the reader of the top.
    for (;;) {
      const std::uint64_t before = moved_;
      filled_ = false;
      remove_entry(parent_fd_, name, 0);
      if (!filled_) return;
      if (moved_ == before) throw errno_error(ENOTEMPTY, std::string("remove ") + name);
    }
  }

 private:
  static constexpr int kMaxDepth = 64;

  void remove_entry(int parent_fd, const char* name, int depth) {
    struct ::stat info {};
    if (::fstatat(parent_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return;
      throw errno_error(errno, std::string("remove ") + name);
    }
    if (!S_ISDIR(info.st_mode) || info.st_dev != device_) {
      if (S_ISDIR(info.st_mode)) throw Error(ErrorCode::kInternal, std::string("remove ") + name + ": still mounted");
      if (::unlinkat(parent_fd, name, 0) != 0 && errno != ENOENT)
        throw errno_error(errno, std::string("remove ") + name);
      return;
    }
    if ((info.st_mode & 0700) != 0700) open_up(parent_fd, name);
    if (depth >= kMaxDepth && top_ >= 0 && move_up(parent_fd, name)) return;
    remove_contents(parent_fd, name, depth);
    if (::unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    if (depth > 0 || errno != ENOTEMPTY) throw errno_error(errno, std::string("remove ") + name);
    filled_ = true;
  }

  void remove_contents(int parent_fd, const char* name, int depth) {
    const int fd = ::openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      const int error = errno;
      // Somebody else's (an overlay's work/work that an Engine mounted as root): it goes if it is empty.
      if (error == EACCES && ::unlinkat(parent_fd, name, AT_REMOVEDIR) == 0) return;
      throw errno_error(error, std::string("remove ") + name);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), ::closedir);
    if (!stream) {
      ::close(fd);
      throw errno_error(ENOMEM, std::string("remove ") + name);
    }
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view child = entry->d_name;
      if (child == "." || child == "..") continue;
      if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN && ::unlinkat(fd, entry->d_name, 0) == 0) continue;
      remove_entry(fd, entry->d_name, depth + 1);
    }
  }

  // A directory, never what a link that has taken its place names.
  static void open_up(int parent_fd, const char* name) {
    const Fd directory(::openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (directory) ::chmod(("/proc/self/fd/" + std::to_string(directory.get())).c_str(), 0700);
  }

  bool move_up(int parent_fd, const char* name) {
    for (;;) {
      const std::string place = "deep-" + std::to_string(moved_);
      if (::renameat2(parent_fd, name, top_, place.c_str(), RENAME_NOREPLACE) == 0) {
        ++moved_;
        return true;
      }
      if (errno != EEXIST) return false;
      ++moved_;
    }
  }

  const int parent_fd_;
  const dev_t device_;  // what is mounted inside is left alone
  int top_ = -1;
  std::uint64_t moved_ = 0;
  bool filled_ = false;
};

}  // namespace

Fd open_file(const std::filesystem::path& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) throw errno_error(errno, "open " + path.string());
  return Fd(fd);
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const Fd fd = open_file(path, O_RDONLY | O_NONBLOCK);
  struct ::stat info {};
  if (::fstat(fd.get(), &info) == 0 && S_ISFIFO(info.st_mode))
    throw Error(ErrorCode::kInvalid, "read " + path.string() + ": a named pipe, no file");
  std::string content;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read " + path.string());
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > limit)
      throw Error(ErrorCode::kInvalid, "read " + path.string() + ": larger than " + std::to_string(limit) + " bytes");
  }
}

std::optional<std::string> read_file_if_exists(const std::filesystem::path& path, std::size_t limit) {
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::nullopt;
  try {
    return read_file(path, limit);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return std::nullopt;  // removed in between
    throw;
  }
}

void write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) throw errno_error(errno, "write " + std::string(what));
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

void publish_file(const std::filesystem::path& path, std::string_view content, Durability durability, mode_t mode) {
  const auto temporary = temporary_sibling(path);
  try {
    write_temporary(temporary, content, durability, mode);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw errno_error(errno, "rename to " + path.string());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (durability == Durability::kDurable) sync_directory(path.parent_path());
}

bool publish_file_once(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  const auto temporary = temporary_sibling(path);
  try {
    write_temporary(temporary, content, Durability::kDurable, mode);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  const int result = ::link(temporary.c_str(), path.c_str());
  const int link_errno = errno;
  ::unlink(temporary.c_str());
  if (result != 0 && link_errno == EEXIST) return false;
  if (result != 0) throw errno_error(link_errno, "link " + path.string());
  sync_directory(path.parent_path());
  return true;
}

void make_directories(const std::filesystem::path& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return;
  if (errno == ENOENT && path.has_parent_path() && path != path.parent_path()) {
    make_directories(path.parent_path(), mode);
    if (::mkdir(path.c_str(), mode) == 0) return;
  }
  if (errno == EEXIST && std::filesystem::is_directory(path)) return;
  throw errno_error(errno, "mkdir " + path.string());
}

void remove_tree(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  const int parent_fd = ::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent_fd < 0) {
    if (errno == ENOENT) return;
    throw errno_error(errno, "open " + parent.string());
  }
  const Fd owned(parent_fd);
  struct ::stat info {};
  if (::fstatat(parent_fd, path.filename().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return;
    throw errno_error(errno, "remove " + path.string());
  }
  TreeRemoval(parent_fd, info.st_dev).remove(path.filename().c_str());
}

std::int64_t disk_bytes_below(const std::filesystem::path& root) {
  std::int64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> linked;
  std::error_code ignored;
  for (fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, ignored), end;
       at != end; at.increment(ignored)) {
    struct ::stat info {};
    if (::lstat(at->path().c_str(), &info) != 0) continue;
    if (info.st_nlink > 1 && S_ISREG(info.st_mode) && !linked.emplace(info.st_dev, info.st_ino).second) continue;
    bytes += std::int64_t{info.st_blocks} * 512;
  }
  return bytes;
}

}  // namespace runner::os
