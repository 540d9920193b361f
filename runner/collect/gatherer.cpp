#include "runner/collect/gatherer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "runner/core/time.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;

constexpr std::size_t kMaxNotices = 100;
constexpr int kMaxDepth = 200;                          // directories; each level holds a descriptor
constexpr std::size_t kMaxEntries = 2 * kMaxArtifacts;  // files, directories and the rest that are looked at
constexpr std::size_t kShownName = 200;                 // bytes of a name that stands in a notice

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

// What a directory's names are called as text: unique, whatever bytes they are.
class Texts {
 public:
  explicit Texts(const std::vector<std::string>& sorted_names) : names_(sorted_names) {}
  std::string of(const std::string& name) {
    std::string text = as_text(name);
    if (text == name) return text;
    std::string free = text;
    // Many names may have one text (\xff%FF, %FF\xff): each goes on where the last one found a place.
    while (taken(free)) {
      const std::size_t tries = ++tries_[text];
      free = text + "_" + (tries == 1 ? "" : std::to_string(tries));
    }
    given_.insert(free);
    return free;
  }

 private:
  bool taken(const std::string& text) const {
    return given_.contains(text) || std::binary_search(names_.begin(), names_.end(), text);
  }
  const std::vector<std::string>& names_;
  std::unordered_set<std::string> given_;
  std::unordered_map<std::string, std::size_t> tries_;
};

// How many bytes of the file were written, counted until they are enough to justify its size. The file system's count
// of blocks may lag behind or leave out what it compressed; a file that it knows no holes of was written whole.
std::int64_t written_bytes(const os::Fd& fd, const struct ::stat& info) {
  std::int64_t written = std::int64_t{info.st_blocks} * 512;
  if (written >= info.st_size / kSparse) return written;
  std::int64_t in_extents = 0;
  for (off_t at = 0; at < info.st_size && in_extents < info.st_size / kSparse;) {
    const off_t data = ::lseek(fd.get(), at, SEEK_DATA);
    if (data < 0) break;
    at = ::lseek(fd.get(), data, SEEK_HOLE);
    if (at <= data) break;
    in_extents += at - data;
  }
  ::lseek(fd.get(), 0, SEEK_SET);
  return std::max(written, in_extents);
}

}  // namespace

os::Fd open_beneath(int directory, const char* name, int flags) {
  ::open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return os::Fd(static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof how)));
}

std::string shortened(const std::string& name) {
  if (name.size() <= kShownName) return name;
  std::size_t end = kShownName;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // not within a character
  return name.substr(0, end) + "…";
}

std::vector<std::pair<std::string, std::string>> as_texts(const std::vector<std::string>& sorted_names) {
  Texts texts(sorted_names);
  std::vector<std::pair<std::string, std::string>> named;
  named.reserve(sorted_names.size());
  for (const std::string& name : sorted_names) named.emplace_back(name, texts.of(name));
  return named;
}

void Gatherer::notice(const std::string& shown, const std::string& what) {
  if (collected_.notices.size() < kMaxNotices)
    collected_.notices.push_back(shortened(shown) + ": " + what);
  else
    ++more_notices_;
}

Collected Gatherer::take() {
  if (more_notices_ > 0)
    collected_.notices.push_back("and " + std::to_string(more_notices_) + " more that were not stored");
  std::vector<std::string> counted;
  if (too_many_ > 0)
    counted.push_back("outputs and logs: " + std::to_string(too_many_) +
                      (too_many_ == 1 ? " entry was" : " entries were") + " not stored: a run keeps at most " +
                      std::to_string(kMaxArtifacts) + " files, with names of " + format_size(kMaxAllNames) +
                      " in all; put many files into one archive");
  if (too_long_ > 0)
    counted.push_back("outputs and logs: " + std::to_string(too_long_) +
                      (too_long_ == 1 ? " entry was" : " entries were") +
                      " not stored: the name, with its directories, is longer than " + std::to_string(kMaxNameBytes) +
                      " bytes; the first is " + shortened(first_too_long_));
  collected_.notices.insert(collected_.notices.begin(), counted.begin(), counted.end());
  collected_.stopped = stop_.stop_requested();
  return std::move(collected_);
}

// The script may have taken its own read permission away; the files are the caller's, and the tree is thrown away
// later.
os::Fd Gatherer::open_or_unlock(int directory, const char* name, int flags, mode_t missing) {
  os::Fd fd = open_beneath(directory, name, flags);
  if (fd || errno != EACCES || !rules_.unlocks) return fd;
  const os::Fd handle = open_beneath(directory, name, O_PATH);
  if (!handle) return {};
  ::chmod(("/proc/self/fd/" + std::to_string(handle.get())).c_str(), missing);
  return open_beneath(directory, name, flags);
}

void Gatherer::entry(int directory, const std::string& name, const std::string& shown, int depth) {
  if (shown.size() > kMaxNameBytes) {
    if (too_long_++ == 0) first_too_long_ = shown;
    return;
  }
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
  if (rules_.leaves_out && rules_.leaves_out(shown)) return;
  if (spent_.artifacts >= kMaxArtifacts || spent_.name_bytes + shown.size() > kMaxAllNames) {
    ++too_many_;
    return;
  }
  const os::Fd fd = open_or_unlock(directory, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0600);
  if (!fd) return notice(shown, std::string("not stored: ") + std::strerror(errno));
  file(fd, shown);
}

// Sorted. What is too much is counted and not held in memory.
std::vector<std::string> Gatherer::names_in(const os::Fd& directory, const std::string& shown) {
  std::vector<std::string> names;
  // A duplicate, because closedir closes what it was given.
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0)),
                                                   ::closedir);
  if (!stream) {
    notice(shown, std::string("not stored: ") + std::strerror(errno));
    return names;
  }
  while (const dirent* entry = ::readdir(stream.get())) {
    if (stop_.stop_requested()) return {};
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entries_ == kMaxEntries || entry_bytes_ + name.size() > kMaxAllNames) {
      ++too_many_;
      continue;
    }
    ++entries_;
    entry_bytes_ += name.size();
    names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void Gatherer::below(os::Fd directory, const std::string& shown, int depth) {
  for (const auto& [name, text] : as_texts(names_in(directory, shown))) {
    if (stop_.stop_requested()) return;
    if (text != name) notice(shown + "/" + text, "its name is not UTF-8 and is stored in this form");
    entry(directory.get(), name, shown + "/" + text, depth);
  }
}

// Holes cost the script nothing and whoever reads them time: a byte that was written justifies sixteen, and beyond that
// all such files of a run have a small allowance.
bool Gatherer::too_sparse(const os::Fd& fd, const struct ::stat& info, const std::string& shown) {
  const std::int64_t written = written_bytes(fd, info);
  if (info.st_size / kSparse <= written) return false;
  if (info.st_size <= kMaxUnwritten - spent_.unwritten) {
    spent_.unwritten += info.st_size;
    return false;
  }
  notice(shown, "a sparse file of " + format_size(info.st_size) + " of which " + format_size(written) +
                    " were written, not stored: sparse files of a run may have " + format_size(kMaxUnwritten) +
                    " between them; write it whole, or only its data");
  return true;
}

void Gatherer::keep(const std::string& shown, const ContentBatch::Stored& stored) {
  ++spent_.artifacts;
  spent_.name_bytes += shown.size();
  collected_.artifacts.push_back({.name = shown, .bytes = stored.bytes, .sha256 = stored.hash});
}

// `ours`: no script could have made it sparse.
void Gatherer::file(const os::Fd& fd, const std::string& shown, bool ours) {
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return notice(shown, "not a regular file, not stored");
  if (const auto same = linked_.find({info.st_dev, info.st_ino}); same != linked_.end())
    return keep(shown, same->second);
  if (!ours && too_sparse(fd, info, shown)) return;
  int failure = 0;
  // No more than it had: a script that lives may make it longer faster than anybody reads.
  auto left = static_cast<std::size_t>(info.st_size);
  const ContentBatch::Stored stored = batch_.put_stream([&](std::span<std::byte> buffer) -> std::size_t {
    while (!stop_.stop_requested()) {
      const ssize_t got = ::read(fd.get(), buffer.data(), std::min(buffer.size(), left));
      if (got >= 0) {
        left -= static_cast<std::size_t>(got);
        return static_cast<std::size_t>(got);
      }
      if (errno == EINTR) continue;
      failure = errno;
      break;
    }
    return 0;
  });
  if (stop_.stop_requested()) return;
  // Half a file under its full name would be a lie; what was put of it is an orphan that gc removes.
  if (failure != 0) return notice(shown, std::string("could not be read to its end: ") + std::strerror(failure));
  struct ::stat now {};
  if (::fstat(fd.get(), &now) == 0 && now.st_size != info.st_size)
    notice(shown, "was still being written: the " + std::to_string(stored.bytes) + " bytes that it had are kept");
  if (info.st_nlink > 1) linked_.emplace(std::pair(info.st_dev, info.st_ino), stored);
  keep(shown, stored);
}

}  // namespace runner::collect
