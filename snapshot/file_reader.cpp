#include "snapshot/file_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <ctime>
#include <span>
#include <string_view>
#include <thread>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kSmall = std::size_t{1}
                               << 20;  // up to here a file is one `put`; the store's chunk is about as long

// Waits between attempts; an editor that saves by "remove, then rename" is long done after their sum.
constexpr std::array kWaits{std::chrono::milliseconds(1), std::chrono::milliseconds(5), std::chrono::milliseconds(20),
                            std::chrono::milliseconds(80)};

std::int64_t nanoseconds(const ::timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

std::int64_t coarse_now() {  // the clock that stamps files: it ticks every 1 to 10 ms
  ::timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return nanoseconds(now);
}

// A file may be written twice in one tick and keep its times: then comparing stamps would miss a change during the
// reading (git's racy-timestamp rule meets the same). So a file that changed in the current tick is read in the next
// one. A change time far ahead is another machine's clock: no waiting helps.
void wait_for_rest(const FileStamp& stamp) {
  constexpr std::int64_t kTwoTicks = 20'000'000;
  for (std::int64_t now = coarse_now(); stamp.changed >= now && stamp.changed - now < kTwoTicks; now = coarse_now())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// A write(2) stamps the file when it begins, copies for as long as it takes and leaves no trace at its end: one that
// was under way at the first stat (its writer lost the processor, or waits for the disk) would tear what is read.
// Writers hold the file's lock all the while; looking for a hole takes it, too, on ext4, btrfs and tmpfs, and XFS takes
// it for each read anyway. Writes through a mapping have no such lock: see the README.
void wait_for_writers(int fd) { static_cast<void>(::lseek(fd, 0, SEEK_HOLE)); }

// Whether a later change is bound to show in the stamp, so that the stat cache may trust it. File systems that store
// whole seconds (FAT: even ones) tick slowly.
bool is_settled(const FileStamp& stamp) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const bool whole_seconds = stamp.modified % kSecond == 0 && stamp.changed % kSecond == 0;
  return stamp.changed + (whole_seconds ? 2 * kSecond : 0) < coarse_now();
}

std::size_t read_some(int fd, std::span<std::byte> into, const std::string& shown) {
  for (;;) {
    const ssize_t got = ::read(fd, into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throw errno_error(errno, "read " + shown);
  }
}

}  // namespace

FileStamp stamp_of(const struct ::stat& info) {
  return {.size = info.st_size,
          .modified = nanoseconds(info.st_mtim),
          .changed = nanoseconds(info.st_ctim),
          .inode = info.st_ino,
          .mode = info.st_mode};
}

EntryType type_of(const FileStamp& stamp) {
  if (S_ISLNK(stamp.mode)) return EntryType::kSymlink;
  return (stamp.mode & S_IXUSR) != 0 ? EntryType::kExecutable : EntryType::kFile;
}

FileReader::Read FileReader::read(int directory_fd, const std::string& name, const std::string& shown,
                                  bool was_regular) {
  for (std::size_t attempt = 0;; ++attempt) {
    Read result;
    struct ::stat info {};
    bool whole = false;
    if (was_regular && attempt == 0) {
      whole = read_file(directory_fd, name, shown, result);
    } else if (::fstatat(directory_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      if (S_ISREG(info.st_mode)) whole = read_file(directory_fd, name, shown, result);
      if (S_ISLNK(info.st_mode)) whole = read_symlink(directory_fd, name, info, result);
    } else if (errno == EACCES || errno == EPERM) {
      result.permitted = false;
    } else if (errno != ENOENT) {
      throw errno_error(errno, "stat " + shown);
    }
    if (whole || !result.permitted) return result;
    if (attempt == kWaits.size())
      throw Error(ErrorCode::kInvalid, shown + ": kept changing while it was read",
                  "wait until nothing writes to it, or name it in the ignore file");
    std::this_thread::sleep_for(kWaits[attempt]);
  }
}

// False: it changed under the reader.
bool FileReader::read_file(int directory_fd, const std::string& name, const std::string& shown, Read& result) {
  // O_NONBLOCK: should a FIFO have taken the file's place, opening it must not wait for a writer.
  const os::Fd fd(::openat(directory_fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) {
    if (errno == EACCES || errno == EPERM)
      result.permitted = false;
    else if (errno != ENOENT && errno != ELOOP && errno != ENXIO)
      throw errno_error(errno, "open " + shown);
    return false;
  }
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0) throw errno_error(errno, "stat " + shown);
  if (!S_ISREG(info.st_mode)) return false;
  // Not stat'ed again behind the waits: a stamp of the then current tick would hide the next write in it.
  result.stamp = stamp_of(info);
  wait_for_rest(result.stamp);
  wait_for_writers(fd.get());
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) throw errno_error(errno, "read " + shown);
  result.type = type_of(result.stamp);
  result.settled = is_settled(result.stamp);
  return static_cast<std::size_t>(info.st_size) <= kSmall ? put_small(fd.get(), shown, result)
                                                          : put_large(fd.get(), shown, result);
}

bool FileReader::put_small(int fd, const std::string& shown, Read& result) {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(kSmall + 1);
  const std::size_t expected = static_cast<std::size_t>(result.stamp.size);
  std::size_t filled = 0;
  for (;;) {  // one byte more than expected is asked for: growth shows, and if none came this is the end
    const std::size_t got = read_some(fd, std::span(buffer_.get() + filled, expected + 1 - filled), shown);
    filled += got;
    if (got == 0 || filled >= expected) break;
  }
  struct ::stat after {};
  if (filled != expected || ::fstat(fd, &after) != 0 || stamp_of(after) != result.stamp) return false;
  result.content = batch_.put(std::span<const std::byte>(buffer_.get(), expected));
  return true;
}

// A torn read is known only after the store has the bytes; nothing will ever refer to them, and `gc` removes them.
bool FileReader::put_large(int fd, const std::string& shown, Read& result) {
  std::int64_t left = result.stamp.size;
  bool grown = false;
  const auto stored = batch_.put_stream([&](std::span<std::byte> into) -> std::size_t {
    const std::size_t got = read_some(fd, into, shown);
    if (left < static_cast<std::int64_t>(got)) grown = true;
    left -= static_cast<std::int64_t>(got);
    return grown ? 0 : got;  // a log that grows faster than it is read would never end
  });
  struct ::stat after {};
  if (grown || stored.bytes != result.stamp.size || ::fstat(fd, &after) != 0 || stamp_of(after) != result.stamp)
    return false;
  result.content = stored.hash;
  return true;
}

bool FileReader::read_symlink(int directory_fd, const std::string& name, const struct ::stat& before, Read& result) {
  std::array<char, PATH_MAX> target;
  const bool settled = is_settled(stamp_of(before));  // a link is never changed, only replaced
  const ssize_t length = ::readlinkat(directory_fd, name.c_str(), target.data(), target.size());
  if (length < 0) return false;
  const std::string_view text(target.data(), static_cast<std::size_t>(length));
  result.type = EntryType::kSymlink;
  result.stamp = stamp_of(before);
  result.stamp.size = length;  // some file systems report 0 for links
  result.settled = result.stamp == stamp_of(before) && settled;
  result.content = sha256(text);
  if (!batch_.known(result.content)) batch_.put(std::as_bytes(std::span(text.data(), text.size())));
  return true;
}

}  // namespace runner::snapshot
