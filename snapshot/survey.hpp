// What a snapshot would hold: one walk that opens no file and stores nothing. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/snapshot.hpp"

namespace runner::snapshot {

struct SurveyedFile {
  std::string path;  // relative to the source directory, bytes
  EntryType type;    // never a directory
  std::int64_t bytes;
};

struct Survey {
  std::vector<SurveyedFile> files;  // bytewise by path
  std::int64_t bytes = 0;
  std::vector<std::string> warnings;  // as `take` would give them
};

// Errors as of `take`, files that may not be read included; a file that changes meanwhile is none.
Survey survey(const Options& options);

}  // namespace runner::snapshot
