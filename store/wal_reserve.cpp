#include "store/wal_reserve.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runner/os/fd.hpp"

namespace runner::store {

// Nobody holds locks on a WAL: SQLite's are on the file beside it, so a descriptor of our own takes none away.
void WalReserve::take() noexcept {
  constexpr std::uint64_t kFew = 2;  // reserves that are to be free: the last of a full disk is others'
  struct ::statvfs disk {};
  if (::statvfs(path_.c_str(), &disk) != 0) return;
  if (disk.f_bavail * disk.f_frsize >= kFew * static_cast<std::uint64_t>(bytes_)) take_again(true);
}

bool WalReserve::is_there() const noexcept {
  constexpr std::int64_t kBlock = 512;  // of st_blocks
  struct ::stat info {};
  return ::lstat(path_.c_str(), &info) == 0 && kBlock * static_cast<std::int64_t>(info.st_blocks) >= bytes_;
}

void WalReserve::take_again(bool was_there) noexcept {
  if (!was_there) return take();
  const os::Fd file(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file) [[maybe_unused]]
    const int result = ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, bytes_);
}

}  // namespace runner::store
