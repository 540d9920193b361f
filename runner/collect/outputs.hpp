// What a finished run left behind: regular files under outputs/ and logs/ of its working directory, read from the
// overlay's upper layer while nothing of the run lives any more. The tree is hostile:
// openat2(BENEATH|NO_SYMLINKS|NO_XDEV), O_NOFOLLOW|O_NONBLOCK, regular files only; links, FIFOs, sockets and devices
// become notices.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/run.hpp"

namespace runner::collect {

struct Collected {
  std::vector<Artifact> artifacts;   // "outputs/…", "logs/…"; already in `batch`, which the caller commits
  std::vector<std::string> notices;  // "outputs/link: symbolic link, not stored"
};
// `upper` is the overlay's upper directory; whiteouts (char 0:0) and opaque marks are understood: in an upper layer
// they mean "deleted below" and are no output. Missing outputs/ or logs/ is fine.
Collected gather(const std::filesystem::path& upper, ContentBatch& batch);

// One regular file as an artifact, under the same rules (the log). Nothing if it does not exist.
std::optional<Artifact> gather_file(const std::filesystem::path& file, const std::string& name, ContentBatch& batch);

}  // namespace runner::collect
