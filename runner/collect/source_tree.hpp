// Source directories that a script hands over, on their way out of the script's reach. They may change while they are
// copied, and hold what leads elsewhere. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "runner/os/fd.hpp"

namespace runner::collect {

inline constexpr std::int64_t kMaxTreeEntries = 100'000;
inline constexpr std::int64_t kMaxTreeBytes = std::int64_t{4} << 30;  // of the files, as long as they say they are
inline constexpr std::int64_t kMaxIgnoreBytes = 64 << 10;             // of all its ignore files
inline constexpr int kMaxTreeDepth = 64;                              // directories; each level holds two descriptors

class HandedOverTrees {
 public:
  // `trees`: where the script puts them. It need not be there.
  explicit HandedOverTrees(const std::filesystem::path& trees);

  // The directory `source` of the tree `name`, which is a single name, as `target`, which must not exist: directories,
  // regular files with their executable bit, links as links; nothing that is called .git, and nothing else.
  // Error(kInvalid) for what is too much or cannot be read, kUnavailable when it is to stop, kNotFound without such a
  // tree or without a source in it.
  void copy_source(const std::string& name, const std::filesystem::path& target, const std::stop_token& stop) const;

  // Out of the script's sight, and away. `aside`: a directory of the same file system that no script sees. What cannot
  // be removed stays there.
  void remove(const std::string& name, const std::filesystem::path& aside) const noexcept;

 private:
  os::Fd trees_;  // none: it is not there, or is no directory
};

}  // namespace runner::collect
