// Whether the data directory is in a place where it can be: what its file system can do for SQLite's WAL and for
// overlays, how much room there is; and whether the clock is right. Facts first, verdicts as pure functions of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/exec/sandbox.hpp"

namespace runner::exec {

struct PlaceFacts {
  std::filesystem::path home;
  std::uint64_t type = 0;   // statfs(2)'s f_type
  std::string name{};       // as it is mounted: "ext4", "nfs4", "fuse.sshfs"; empty: unknown
  bool maps = true;         // a file of it can be mapped shared and writable, as the WAL's index is
  std::int64_t free = 0;    // bytes, for this user
  std::int64_t inodes = 0;  // in all; 0: it does not count them
  std::int64_t free_inodes = 0;
};
// Of the nearest directory that exists. Tries a mapping, with a file that has no name, if `try_mapping`.
PlaceFacts look_at_place(const std::filesystem::path& home, bool try_mapping);

Check check_file_system(const PlaceFacts& facts);
Check check_disk(const PlaceFacts& facts);
// Why no daemon should run there: Error(kUnavailable) with the way out. Nothing: it may, though perhaps badly.
std::optional<Error> unfit_place(const PlaceFacts& facts);

struct ClockFacts {
  UtcTime now{};
  std::optional<UtcTime> newest{};     // time in the history
  std::optional<bool> synchronised{};  // as the kernel was told by NTP; nothing: it does not say
};
std::optional<bool> clock_is_synchronised();
Check check_clock(const ClockFacts& facts);

}  // namespace runner::exec
