// pylock.toml (PEP 751), the part of it that uv writes and reads: what was resolved, and every file that would do.
// Private to this folder. Any thread; no I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::envs {

struct PylockArtefact {
  std::string url{};       // a local file's, too
  std::string hash{};      // "sha256:…"
  std::int64_t bytes = 0;  // 0: not known
};

struct PylockPackage {
  std::string name{};                    // normalised
  std::string version{};                 // may be empty for what has a URL of its own
  std::vector<PylockArtefact> wheels{};  // from an index; the best for this machine is chosen at installation
  std::optional<PylockArtefact> source{};
  std::optional<PylockArtefact> archive{};  // a file of its own URL instead of an index's
  std::string repository{};                 // "git+https://host/project"
  std::string commit{};
  std::string subdirectory{};  // of archive or repository
};

// Error(kInternal) for a text that is no pylock. Relative paths are below `directory`.
std::vector<PylockPackage> read_pylock(std::string_view text, const std::string& directory);
std::string write_pylock(const std::vector<PylockPackage>& packages);

}  // namespace runner::envs
