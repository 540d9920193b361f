// What the shim saw of a run just before it ended, for its post-mortem: last_look.json in the run directory, written
// for endings that ask for an explanation. JSON, "version": 1, published atomically.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runner/core/time.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/shim/usage.hpp"

namespace runner::shim {

struct SeenProcess {
  pid_t pid = 0;     // as the script knows it
  pid_t parent = 0;  // likewise; 0: outside of the run
  char state = 0;    // of proc(5)
  std::int64_t memory_bytes = 0;
  double cpu_seconds = 0;
  std::string command;  // its command line, or its name in brackets; any bytes
};

struct LastLook {
  UtcTime time{};              // when `processes` were alive
  bool before_signal = false;  // taken for the purpose, just before the signal; else with the last sample
  std::int64_t process_count = 0;
  bool complete = true;                  // false: there were more than were counted
  std::vector<SeenProcess> processes{};  // the largest, at most kMostSeen, by pid
  std::vector<UsageSample> samples{};    // of the last minute
};

inline constexpr std::size_t kMostSeen = 40;

std::optional<LastLook> read_last_look(const os::RunDirectory& run);  // nothing if it is missing or damaged
void write_last_look(const os::RunDirectory& run, const LastLook& look);

// The first `most` bytes of each command line, blanks between the arguments; empty where there is none or it cannot be
// read in time. Reading one waits for a lock that a process stuck on a dead file system may hold for ever, so a child
// does it, and is killed after `limit`.
std::vector<std::string> read_command_lines(std::span<const pid_t> pids, std::chrono::milliseconds limit);

}  // namespace runner::shim
