#include "runner/exec/run_directories.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "runner/core/error.hpp"
#include "runner/exec/mount_plan.hpp"
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
        Wanted{directory.tmp(), 01777}, Wanted{directory.io(), 0700}, Wanted{directory.artifacts(), 0700},
        Wanted{directory.bundle(), 0700}, Wanted{directory.runtime_state(), 0700}}) {
    if (::mkdir(place.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      throw errno_error(errno, "mkdir " + place.string());
    }
    if (mode != 0700 && ::chmod(place.c_str(), mode) != 0) throw errno_error(errno, "chmod " + place.string());
  }
  os::open_file(directory.journal(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
}

std::size_t layers_that_fit(const os::DataDirectory& data) {
  constexpr std::size_t kMountDataLimit = 4095;  // bytes; one page, mount(2)
  constexpr std::size_t kMost = 4;               // each costs a look-up for every name that is not in the ones above
  constexpr std::size_t kLongestRunId = 220;     // 200 of an experiment's name, time and chance
  constexpr std::size_t kWords = 128;            // lowerdir=,upperdir=… and the flags
  const os::RunDirectory run = data.run(std::string(kLongestRunId, 'r'));
  const std::size_t rest =
      kWords + escape_overlay_path(run.upper().string()).size() + escape_overlay_path(run.work().string()).size();
  const std::size_t layer = escape_overlay_path((data.checkouts() / Hash{}.hex() / "tree").string()).size() + 1;
  if (rest >= kMountDataLimit) return 1;  // the plan of a mount says why it cannot be
  return std::clamp<std::size_t>((kMountDataLimit - rest) / layer, 1, kMost);
}

}  // namespace runner::exec
