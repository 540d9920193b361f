// A run directory of a test's own, removed at the end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "runner/os/data_directory.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {

struct ScratchRun {
  os::RunDirectory run;
  ScratchRun() : run(make()) { os::make_directories(run.io()); }
  ~ScratchRun() { os::remove_tree(run.root()); }
  ScratchRun(const ScratchRun&) = delete;
  ScratchRun& operator=(const ScratchRun&) = delete;

  static std::filesystem::path make() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-shim-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    return name;
  }
};

}  // namespace runner::shim
