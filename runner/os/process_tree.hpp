// The processes below one, as /proc shows them, with a bound on the work: whoever made them may have made 100 000, and
// renames and ends them meanwhile. Nothing here waits for a lock that one of them could hold (`ps` hangs on such).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::os {

struct ProcessFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  char state = 0;                 // "R", "S", "D", "Z", … of proc(5)
  std::uint64_t start_ticks = 0;  // with `pid` its identity (ProcessIdentity)
  int threads = 0;
  double cpu_seconds = 0;         // its own
  double reaped_cpu_seconds = 0;  // of the children that it has waited for, and theirs
  std::int64_t memory_bytes = 0;  // resident; pages that it shares are counted in each that shares them
  std::string name;               // what it calls itself, at most 15 bytes of any kind
};
std::optional<ProcessFacts> read_process(pid_t pid);  // nothing if it is gone
// The same from the text of /proc/PID/stat, in which the process chooses its own name.
std::optional<ProcessFacts> parse_process(pid_t pid, std::string_view stat);

struct ProcessTree {
  std::vector<ProcessFacts> processes;  // the root first, parents before their children
  bool complete = true;                 // false: `most_files` were read before all of it was seen
};
inline constexpr std::size_t kMostFilesOfLook = 1024;  // 10 ms at the very most
// Opens at most `most_files` files, two for each process and one more for each further thread; 10 µs each, about.
ProcessTree read_process_tree(pid_t root, std::size_t most_files);

// /proc/PID/io: block devices, the process and the children that it has waited for. Nothing if it may not be read.
struct ProcessIo {
  std::int64_t read_bytes = 0;
  std::int64_t written_bytes = 0;
};
std::optional<ProcessIo> read_process_io(pid_t pid);

struct ProcessStatus {
  pid_t inner_pid = 0;       // in its own pid namespace
  std::uint64_t caught = 0;  // signals with a handler: bit N-1 is signal N
  std::uint64_t ignored = 0;
};
std::optional<ProcessStatus> read_process_status(pid_t pid);
std::optional<ProcessStatus> parse_process_status(pid_t pid, std::string_view status);

}  // namespace runner::os
