// One writer at a time, across threads and processes: flock(2) of a file, held by this object. Private to this folder.
#pragma once

#include <filesystem>
#include <string>

#include "envs/build_console.hpp"
#include "runner/os/fd.hpp"

namespace runner::envs {

class BuildLock {
 public:
  // Waits for its turn, tells so (`what`: "the conda package cache"), and throws as BuildConsole::check() does.
  BuildLock(const std::filesystem::path& file, const std::string& what, BuildConsole& console);

 private:
  os::Fd fd_;
};

}  // namespace runner::envs
