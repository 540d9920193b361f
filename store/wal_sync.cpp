#include "store/wal_sync.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::store {

std::uint64_t WalSync::committed() {
  const std::lock_guard lock(mutex_);
  return ++committed_;
}

void WalSync::await(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !syncing_ || synced_ >= number; });
  if (synced_ >= number) return;
  // A second try could succeed and mean nothing: the kernel forgets what it could not write.
  if (broken_) throw Error(ErrorCode::kInternal, path_.filename().string() + ": could not be synced");
  syncing_ = true;
  const std::uint64_t target = committed_;
  lock.unlock();
  std::exception_ptr error;
  try {
    sync_file();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  syncing_ = false;
  if (error)
    broken_ = synced_ < target;  // unless it has been mended meanwhile
  else
    synced_ = std::max(synced_, target);
  lock.unlock();
  changed_.notify_all();
  if (error) std::rethrow_exception(error);
}

std::uint64_t WalSync::latest() {
  const std::lock_guard lock(mutex_);
  return committed_;
}

void WalSync::mended(std::uint64_t number) {
  {
    const std::lock_guard lock(mutex_);
    synced_ = std::max(synced_, number);
    broken_ = false;
  }
  changed_.notify_all();
}

void WalSync::distrust() {
  const std::lock_guard lock(mutex_);
  ++committed_;
  broken_ = true;
}

void WalSync::open() {
  // Nobody holds locks on a WAL: SQLite's are on the file beside it, so a descriptor of our own takes none away.
  file_ = os::open_file(path_, O_RDONLY | O_CLOEXEC);
  const os::Fd directory = os::open_file(path_.parent_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (::fsync(directory.get()) != 0) throw errno_error(errno, "sync " + path_.parent_path().string());
}

void WalSync::sync_file() {
  if (!file_) open();
  if (::fdatasync(file_.get()) != 0) throw errno_error(errno, "sync " + path_.string());
}

bool store_again(const std::filesystem::path& wal) noexcept {
  const os::Fd file(::open(wal.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return false;
  std::array<char, 64 << 10> piece;
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(file.get(), piece.data(), piece.size(), at);
    if (got < 0) return false;
    if (got == 0) break;
    if (::pwrite(file.get(), piece.data(), static_cast<std::size_t>(got), at) != got) return false;
    at += got;
  }
  return ::fdatasync(file.get()) == 0;
}

}  // namespace runner::store
