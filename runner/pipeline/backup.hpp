// All that is stored, as one file: a tar archive of the two databases. Extracted into an empty directory it is a home
// (docs/data-directory.md). Any thread; one call at a time a file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "runner/os/data_directory.hpp"
#include "runner/pipeline/gc.hpp"

namespace runner::pipeline {

struct BackedUp {
  std::int64_t bytes = 0;  // of the archive
  std::int64_t history_bytes = 0, content_bytes = 0;
};

// Runs and submissions go on. `file`: absolute; made with mode 0600, or replaced, when it is complete and synced.
// Beside it there must be room for a second copy of the history, or of what is left to copy of the contents. `doing`
// may throw: nothing is left then. Error(kInvalid) for a place within the home, or a file that is none; kNotFound
// without its directory; kPermission, kNoSpace.
BackedUp back_up(const os::DataDirectory& data, const std::filesystem::path& file, const Doing& doing);

}  // namespace runner::pipeline
