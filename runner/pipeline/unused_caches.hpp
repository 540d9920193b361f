// Files of the data directory that may go: they come back when they are needed, or were never finished.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/os/data_directory.hpp"

namespace runner::pipeline {

struct UnusedCache {
  std::filesystem::path path;
  std::string kind;        // api::GcItem
  std::int64_t bytes = 0;  // on the disk
  std::string reason;
};

// Temporary files of daemons that are gone; stat caches of source directories that are gone.
std::vector<UnusedCache> find_unused_caches(const os::DataDirectory& data);

}  // namespace runner::pipeline
