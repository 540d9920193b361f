#include "runner/os/fd.hpp"

#include <unistd.h>

namespace runner::os {

void Fd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace runner::os
