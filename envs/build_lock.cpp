#include "envs/build_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {

BuildLock::BuildLock(const std::filesystem::path& file, const std::string& what, BuildConsole& console)
    : fd_(os::open_file(file, O_RDWR | O_CREAT)) {
  constexpr auto kTick = std::chrono::milliseconds(100);  // how late a cancelled build may notice
  bool told = false;
  while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw errno_error(errno, "lock " + file.string());
    console.check();
    if (!told) console.progress("waiting for another build to be done with " + what);
    told = true;
    std::this_thread::sleep_for(kTick);
  }
}

}  // namespace runner::envs
