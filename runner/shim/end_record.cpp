#include "runner/shim/end_record.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {
namespace {

constexpr int kRoom = 16 << 10;  // bytes: an outcome with its message takes less than 2 KiB

// In the room that was taken. False if there is none, or not enough.
bool write_in_reserve(const os::RunDirectory& run, const std::string& document) {
  const os::Fd file(::open(run.ended_reserve().c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  const auto size = static_cast<ssize_t>(document.size());
  return file && ::pwrite(file.get(), document.data(), document.size(), 0) == size &&
         ::ftruncate(file.get(), size) == 0 && ::fdatasync(file.get()) == 0 &&
         ::rename(run.ended_reserve().c_str(), run.ended().c_str()) == 0;
}

}  // namespace

void reserve_end_record(const os::RunDirectory& run) noexcept {
  const os::Fd file(::open(run.ended_reserve().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file) [[maybe_unused]]
    const int result = ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, kRoom);
}

bool record_end(const os::RunDirectory& run, const Ended& ended) {
  constexpr int kPauseMillis = 1000;
  const std::string document = to_document(ended);
  if (write_in_reserve(run, document)) {
    const os::Fd directory(::open(run.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return directory && ::fsync(directory.get()) == 0;
  }
  ::unlink(run.ended_reserve().c_str());
  ::unlink((run.bundle() / "config.json").c_str());  // room of what only this run needed to start
  for (;;) {
    try {
      os::publish_file(run.ended(), document, os::Durability::kDurable);
      return true;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNoSpace) return false;
    }
    ::poll(nullptr, 0, kPauseMillis);
  }
}

}  // namespace runner::shim
