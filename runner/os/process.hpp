// Processes: identity that survives pid reuse, spawning, waiting. Any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runner/os/fd.hpp"

namespace runner::os {

// A pid counts only with its start time (field 22 of /proc/PID/stat, clock ticks since boot) and the boot.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  std::string boot_id;
  bool operator==(const ProcessIdentity&) const = default;
};

std::optional<ProcessIdentity> identify(pid_t pid);  // nothing if there is no such process (a zombie still counts)
ProcessIdentity identify_self();
// A pidfd for exactly this process; nothing when it is gone or the pid belongs to another by now. Readable = ended.
std::optional<Fd> open_process(const ProcessIdentity& identity);
bool signal_process(const Fd& pidfd, int signal);  // false: it is gone

struct SpawnRequest {
  std::vector<std::string> arguments;      // arguments[0] is the program's path; PATH is not searched
  std::vector<std::string> environment{};  // "K=V", nothing is inherited
  std::filesystem::path directory{};       // empty: unchanged
  bool new_session = false;
  // (ours, theirs): descriptor `ours` becomes number `theirs` in the child; 0, 1 and 2 are /dev/null unless listed.
  std::vector<std::pair<int, int>> descriptors{};
};
struct Child {
  pid_t pid;
  Fd pidfd;
};
Child spawn(const SpawnRequest& request);  // Error with the program's name if it cannot be started

// Runs a short helper to its end and returns what it wrote; the process group is killed at the deadline (Error).
struct Captured {
  int exit_code;  // 128+N for a signal
  std::string out;
  std::string err;
};
Captured capture(const SpawnRequest& request, std::chrono::milliseconds limit, std::size_t output_limit = 4 << 20);

// The absolute path of `name` in `search_path` (a PATH value), or nothing.
std::optional<std::filesystem::path> find_program(const std::string& name, const std::string& search_path);
// The directory of the running program: its siblings (runner-shim, runner-init, …) are there.
std::filesystem::path program_directory();
// The Python package mounted into runs: ../share/runner/python beside the program directory.
std::filesystem::path python_package_directory();
// Environments that come with runner: beside the Python package.
std::filesystem::path curated_environments_directory();

}  // namespace runner::os
