// Our copies of what pip and uv installed, by the SHA-256 of the artefact a lock names: what a cache of theirs would
// lose (an index that forbids caching, a find-links directory that is gone, a wheel that was built from a source
// archive).
//
//   WHEELS/<SHA-256 of the artefact>/<SHA-256 of the file>/<its name>
//
// The two differ where pip built a wheel from a source archive. A directory appears by rename with everything in it;
// several processes at once; every file is checked when it is taken out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "envs/builders.hpp"

namespace runner::envs {

class WheelStore {
 public:
  explicit WheelStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  struct Copy {
    std::filesystem::path file;
    std::string hash;  // of the file, "sha256:…"
  };
  // `artefact` is a lock's "sha256:…". Reads the whole file; a damaged one is removed, and nothing is what was found.
  std::optional<Copy> find(const std::string& artefact) const;
  // Without a look at the content.
  bool has(const std::string& artefact) const;
  // Keeps a copy. False: `file`, taken as the artefact itself (no wheel made from it), has another hash.
  bool add(const std::string& artefact, const std::filesystem::path& file, bool made_from_it) const;
  // What copies that a crash ended have left. While nobody adds.
  void remove_unfinished() const;

 private:
  std::filesystem::path place_of(const std::string& artefact) const;  // empty: no SHA-256
  std::filesystem::path directory_;
};

// Copies what the lock names and the store lacks, after the environment is published: nobody waits for it, and what
// cannot be copied now is only a warning in the log. Files behind file: URLs are copied; what came from an index is
// left to uv's own cache where uv installs and its index lets it be kept, and is fetched once more otherwise (by pip:
// from its cache if it can). `prefix` is the environment's. Throws only what stops a build: stopped, deadline, no
// space.
void stock_wheels(const Specification& specification, const Lock& lock, const std::filesystem::path& prefix,
                  const BuildSettings& settings, BuildConsole& console);

}  // namespace runner::envs
