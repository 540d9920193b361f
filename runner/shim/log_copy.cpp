#include "runner/shim/log_copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {

LogCopy::LogCopy(const os::RunDirectory& run, std::optional<std::int64_t> limit) : room_(limit) {
  if (::mkfifo(run.log_fifo().c_str(), 0600) != 0 && errno != EEXIST)
    throw errno_error(errno, "mkfifo " + run.log_fifo().string());
  // The directory is the script's to write in only once it runs, and a run starts once: nothing but our FIFO can be
  // there.
  fifo_ = os::open_file(run.log_fifo(), O_RDWR | O_NONBLOCK | O_NOFOLLOW);
  log_ = os::open_file(run.log(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW);
  constexpr int kPipeBytes = 1 << 20;  // the usual fs.pipe-max-size; a refusal leaves 64 KiB, which only costs speed
  ::fcntl(fifo_.get(), F_SETPIPE_SZ, kPipeBytes);
}

bool LogCopy::copy_some() {
  static std::array<char, 64 << 10> buffer;  // bytes; static so that only what is used becomes resident
  const ssize_t got = ::read(fifo_.get(), buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) return false;
  store(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

void LogCopy::store(const char* bytes, std::size_t size) {
  if (room_) {
    const std::size_t kept = std::min(size, static_cast<std::size_t>(*room_));
    over_limit_ += static_cast<std::int64_t>(size - kept);
    *room_ -= static_cast<std::int64_t>(kept);
    size = kept;
  }
  while (size > 0) {
    const ssize_t wrote = ::write(log_.get(), bytes, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      lost_ += static_cast<std::int64_t>(size);
      reason_ = std::strerror(errno);
      return;
    }
    wrote_ = true;
    bytes += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
}

void LogCopy::finish() {
  while (copy_some()) {
  }
  if (wrote_ && ::fdatasync(log_.get()) != 0 && reason_.empty()) reason_ = std::strerror(errno);
}

}  // namespace runner::shim
