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
namespace {

constexpr std::size_t kPipeBytes = 1 << 20;  // the usual fs.pipe-max-size
constexpr int kMostSteps = 8;                // then signals and deadlines have their turn: some milliseconds
constexpr ssize_t kMuch = 128 << 10;         // bytes at once

ssize_t splice_some(int from, int to, std::size_t most) {
  ssize_t moved = 0;
  do {
    moved = ::splice(from, nullptr, to, nullptr, most, SPLICE_F_NONBLOCK);
  } while (moved < 0 && errno == EINTR);
  return moved;
}

}  // namespace

LogCopy::LogCopy(const os::RunDirectory& run, std::optional<std::int64_t> limit) : room_(limit) {
  if (::mkfifo(run.log_fifo().c_str(), 0600) != 0 && errno != EEXIST)
    throw errno_error(errno, "mkfifo " + run.log_fifo().string());
  // The directory is the script's to write in only once it runs, and a run starts once: nothing but our FIFO can be
  // there.
  fifo_ = os::open_file(run.log_fifo(), O_RDWR | O_NONBLOCK | O_NOFOLLOW);
  log_ = os::open_file(run.log(), O_WRONLY | O_CREAT | O_NOFOLLOW);  // not to append: nothing can be spliced to that
  ::fcntl(fifo_.get(), F_SETPIPE_SZ, static_cast<int>(kPipeBytes));  // a refusal leaves 64 KiB, which only costs speed
}

bool LogCopy::copy_some() {
  bool any = false;
  for (int step = 0; step < kMostSteps; ++step) {
    if (!move_some() && read_from(fifo_.get()) <= 0) return any;
    any = true;
  }
  return true;
}

// The kernel copies what is in the pipe into the file: half of the copying that reading and writing it takes. False if
// there is nothing to move, nothing may be kept, or the file cannot take it: a full disk, or one that knows no such
// thing.
bool LogCopy::move_some() {
  std::size_t most = kPipeBytes;
  if (room_) most = std::min(most, static_cast<std::size_t>(*room_));
  if (most == 0) return false;
  const bool aside = much_ && open_aside();
  const ssize_t moved = splice_some(fifo_.get(), aside ? aside_in_.get() : log_.get(), most);
  if (moved <= 0) return false;
  much_ = moved >= kMuch;
  if (aside) {
    empty_aside(moved);
  } else {
    wrote_ = true;
    if (room_) *room_ -= moved;
  }
  return true;
}

// While a pipe is spliced into a file its writer waits. So a script that prints much has its pages moved into another
// pipe first, which copies nothing, and prints on while they are written.
bool LogCopy::open_aside() {
  if (aside_out_) return true;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return false;
  aside_out_.reset(ends[0]);
  aside_in_.reset(ends[1]);
  ::fcntl(aside_in_.get(), F_SETPIPE_SZ, static_cast<int>(kPipeBytes));
  return true;
}

void LogCopy::empty_aside(ssize_t bytes) {
  while (bytes > 0) {
    const ssize_t moved = splice_some(aside_out_.get(), log_.get(), static_cast<std::size_t>(bytes));
    if (moved > 0) {
      wrote_ = true;
      if (room_) *room_ -= moved;
      bytes -= moved;
    } else if (const ssize_t read = read_from(aside_out_.get()); read > 0) {
      bytes -= read;
    } else {
      return;
    }
  }
}

// Bytes that were read and stored, or lost.
ssize_t LogCopy::read_from(int pipe) {
  static std::array<char, 64 << 10> buffer;  // bytes; static so that only what is used becomes resident
  ssize_t got = 0;
  do {
    got = ::read(pipe, buffer.data(), buffer.size());
  } while (got < 0 && errno == EINTR);
  if (got > 0) store(buffer.data(), static_cast<std::size_t>(got));
  return got;
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
