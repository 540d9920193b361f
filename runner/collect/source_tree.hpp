// A source directory that a script hands over, on its way out of the script's reach. It may change while it is copied,
// and hold what leads elsewhere. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "runner/os/fd.hpp"

namespace runner::collect {

inline constexpr std::int64_t kMaxTreeEntries = 100'000;
inline constexpr std::int64_t kMaxTreeBytes = std::int64_t{4} << 30;  // of the files, as long as they say they are

class HandedOverTree {
 public:
  // `trees`: where the script puts them; `name`: a single one. Error(kNotFound) if it is not there.
  HandedOverTree(const std::filesystem::path& trees, const std::string& name);

  // The directory `source` of it, as `target`, which must not exist: directories, regular files with their executable
  // bit, links as links; nothing that is called .git, and nothing else. Error(kInvalid) for what is too much,
  // kUnavailable when it is to stop, kNotFound without a source.
  void copy_source(const std::filesystem::path& target, const std::stop_token& stop) const;

  // Out of the script's sight, and away. `aside`: a directory beside the trees that no script sees. What cannot be
  // removed stays until the run's directory goes.
  void remove(const std::filesystem::path& aside) const noexcept;

 private:
  os::Fd trees_;
  std::string name_;
};

}  // namespace runner::collect
