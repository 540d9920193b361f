#include "runner/collect/outputs.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;

constexpr std::size_t kMaxNotices = 100;
constexpr int kMaxDepth = 200;  // directories; each level holds a descriptor

// One name below `directory`, following nothing and leaving neither the directory nor the file system.
os::Fd open_beneath(int directory, const char* name, int flags) {
  ::open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return os::Fd(static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof how)));
}

const char* kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFLNK:
      return "symbolic link";
    case S_IFIFO:
      return "named pipe";
    case S_IFSOCK:
      return "socket";
    case S_IFBLK:
    case S_IFCHR:
      return "device";
    default:
      return "special file";
  }
}

// The length of the UTF-8 sequence at the start of `text`; 0 if there is no valid one.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogate
  if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // beyond U+10FFFF
  return length;
}

// Names are bytes, but JSON and SQL carry text: a byte that is no part of valid UTF-8 becomes %XX.
std::string as_text(std::string_view name) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  while (!name.empty()) {
    const std::size_t length = utf8_length(name);
    if (length > 0) {
      text += name.substr(0, length);
    } else {
      const auto byte = static_cast<unsigned char>(name.front());
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
    name.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text;
}

class Gatherer {
 public:
  explicit Gatherer(ContentBatch& batch) : batch_(batch) {}

  void entry(int directory, const std::string& name, const std::string& shown, int depth);
  void file(const os::Fd& fd, const std::string& shown);
  void notice(const std::string& shown, const std::string& what);
  Collected take();

 private:
  void below(os::Fd directory, const std::string& shown, int depth);
  os::Fd open_or_unlock(int directory, const char* name, int flags, mode_t missing);

  ContentBatch& batch_;
  Collected collected_;
  std::size_t more_notices_ = 0;
};

void Gatherer::notice(const std::string& shown, const std::string& what) {
  if (collected_.notices.size() < kMaxNotices)
    collected_.notices.push_back(shown + ": " + what);
  else
    ++more_notices_;
}

Collected Gatherer::take() {
  if (more_notices_ > 0)
    collected_.notices.push_back("and " + std::to_string(more_notices_) + " more that were not stored");
  return std::move(collected_);
}

// The script may have taken its own read permission away; the files are the caller's, and the tree is thrown away
// later.
os::Fd Gatherer::open_or_unlock(int directory, const char* name, int flags, mode_t missing) {
  os::Fd fd = open_beneath(directory, name, flags);
  if (fd || errno != EACCES) return fd;
  const os::Fd handle = open_beneath(directory, name, O_PATH);
  if (!handle) return {};
  ::chmod(("/proc/self/fd/" + std::to_string(handle.get())).c_str(), missing);
  return open_beneath(directory, name, flags);
}

void Gatherer::entry(int directory, const std::string& name, const std::string& shown, int depth) {
  struct ::stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) notice(shown, std::string("not stored: ") + std::strerror(errno));
    return;
  }
  if (S_ISCHR(info.st_mode) && info.st_rdev == 0) return;  // overlay's mark for "deleted"
  if (S_ISDIR(info.st_mode)) {
    if (depth == kMaxDepth) return notice(shown, "nested too deeply, not stored");
    os::Fd fd = open_or_unlock(directory, name.c_str(), O_RDONLY | O_DIRECTORY, 0700);
    if (!fd) return notice(shown, std::string("not stored: ") + std::strerror(errno));
    return below(std::move(fd), shown, depth + 1);
  }
  if (!S_ISREG(info.st_mode)) return notice(shown, std::string(kind_of(info.st_mode)) + ", not stored");
  const os::Fd fd = open_or_unlock(directory, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0600);
  if (!fd) return notice(shown, std::string("not stored: ") + std::strerror(errno));
  file(fd, shown);
}

void Gatherer::below(os::Fd directory, const std::string& shown, int depth) {
  std::vector<std::string> names;
  {
    // A duplicate, because closedir closes what it was given.
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0)),
                                                     ::closedir);
    if (!stream) return notice(shown, std::string("not stored: ") + std::strerror(errno));
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  std::vector<std::string> escaped;
  for (const std::string& name : names) {
    std::string text = as_text(name);
    if (text != name) {
      const auto taken = [&](const std::string& candidate) {
        return std::binary_search(names.begin(), names.end(), candidate) ||
               std::find(escaped.begin(), escaped.end(), candidate) != escaped.end();
      };
      while (taken(text)) text += '_';
      escaped.push_back(text);
      notice(shown + "/" + text, "its name is not UTF-8 and is stored in this form");
    }
    entry(directory.get(), name, shown + "/" + text, depth);
  }
}

void Gatherer::file(const os::Fd& fd, const std::string& shown) {
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return notice(shown, "not a regular file, not stored");
  int failure = 0;
  const ContentBatch::Stored stored = batch_.put_stream([&fd, &failure](std::span<std::byte> buffer) -> std::size_t {
    for (;;) {
      const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno == EINTR) continue;
      failure = errno;
      return 0;
    }
  });
  // Half a file under its full name would be a lie; what was put of it is an orphan that gc removes.
  if (failure != 0) return notice(shown, std::string("could not be read to its end: ") + std::strerror(failure));
  collected_.artifacts.push_back({.name = shown, .bytes = stored.bytes, .sha256 = stored.hash});
}

}  // namespace

Collected gather(const path& upper, ContentBatch& batch) {
  const os::Fd root(::open(upper.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    if (errno == ENOENT) return {};
    throw errno_error(errno, "open " + upper.string());
  }
  Gatherer gatherer(batch);
  for (const char* top : {"outputs", "logs"}) {
    struct ::stat info {};
    if (::fstatat(root.get(), top, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(info.st_mode)) {
      gatherer.notice(top, "a file where a directory was expected, not stored");
      continue;
    }
    gatherer.entry(root.get(), top, top, 0);
  }
  return gatherer.take();
}

std::optional<Artifact> gather_file(const path& file, const std::string& name, ContentBatch& batch) {
  const os::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    throw errno_error(errno, "open " + file.string());
  }
  Gatherer gatherer(batch);
  gatherer.file(fd, name);
  Collected collected = gatherer.take();
  if (collected.artifacts.empty()) throw Error(ErrorCode::kInternal, collected.notices.front());
  return std::move(collected.artifacts.front());
}

}  // namespace runner::collect
