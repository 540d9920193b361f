#include "runner/exec/run_directories.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {

using std::filesystem::path;

void make_run_directories(const os::RunDirectory& directory) {
  struct Wanted {
    path place;
    mode_t mode;
  };
  // upper gives the working directory its mode; io is shared with the script's uid only.
  for (const auto& [place, mode] :
       {Wanted{directory.upper(), 0755}, Wanted{directory.work(), 0700}, Wanted{directory.home(), 0700},
        Wanted{directory.tmp(), 01777}, Wanted{directory.io(), 0700}, Wanted{directory.bundle(), 0700},
        Wanted{directory.runtime_state(), 0700}}) {
    if (::mkdir(place.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      throw errno_error(errno, "mkdir " + place.string());
    }
    if (mode != 0700 && ::chmod(place.c_str(), mode) != 0) throw errno_error(errno, "chmod " + place.string());
  }
  os::open_file(directory.journal(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
}

}  // namespace runner::exec
