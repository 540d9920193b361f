// What a finished run left behind: regular files under outputs/ and logs/ of its working directory, read from the
// overlay's upper layer while nothing of the run lives any more. The tree is hostile:
// openat2(BENEATH|NO_SYMLINKS|NO_XDEV), O_NOFOLLOW|O_NONBLOCK, regular files only; links, FIFOs, sockets and devices
// become notices. So does what would cost far more than the script had to write for it: sparse files, endless names.
#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/run.hpp"

namespace runner::collect {

constexpr std::size_t kMaxArtifacts = 200'000;     // of a run
constexpr std::size_t kMaxNameBytes = 4096;        // of one artifact's name
constexpr std::size_t kMaxAllNames = 64U << 20;    // bytes, of all of them
constexpr std::int64_t kMaxUnwritten = 1LL << 30;  // bytes that sparse files may have between them
constexpr std::int64_t kSparse = 16;               // times what was written of it: a file larger than that is sparse

// What has been taken of these.
struct Bounds {
  std::size_t artifacts = 0;
  std::size_t name_bytes = 0;
  std::int64_t unwritten = 0;
};

struct Collected {
  std::vector<Artifact> artifacts;   // "outputs/…", "logs/…"; already in `batch`, which the caller commits
  std::vector<std::string> notices;  // "outputs/link: symbolic link, not stored"; those that count come first
  bool stopped = false;              // by `stop`, before the end: nothing of this is to be kept
};
// `upper` is the overlay's upper directory; whiteouts (char 0:0) and opaque marks are understood: in an upper layer
// they mean "deleted below" and are no output. Missing outputs/ or logs/ is fine.
Collected gather(const std::filesystem::path& upper, ContentBatch& batch, const std::stop_token& stop = {});

// What is in a directory of the caller's own, as "NAME/…" under the same rules; nothing there is changed, and a
// directory that is not there has nothing in it. The path itself may lead through links.
Collected gather_below(const std::filesystem::path& directory, const std::string& name, ContentBatch& batch,
                       const std::stop_token& stop = {});

// One file that a script could write, under the same rules. Nothing if it does not exist.
Collected gather_one(const std::filesystem::path& file, const std::string& name, ContentBatch& batch,
                     const std::stop_token& stop = {});
// One of ours (the log), as it is: Error if it cannot be read. Nothing if it does not exist, or after `stop`.
std::optional<Artifact> gather_file(const std::filesystem::path& file, const std::string& name, ContentBatch& batch,
                                    const std::stop_token& stop = {});

}  // namespace runner::collect
