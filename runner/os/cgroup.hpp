// Control groups of a run: v1, v2 and the hybrid of both, as the machine has them. Made below the cgroup of the caller,
// never at the root, so that two daemons on one machine never meet. Any thread; plain files underneath, no state here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::os {

struct CgroupLimits {
  std::optional<std::int64_t> memory_bytes;  // memory and swap together
  std::optional<std::int64_t> pids;
  std::optional<double> cpus;
};

// Where this process may make cgroups, and why not elsewhere.
struct CgroupBase {
  int version = 0;  // 1 or 2 (the one that has the memory controller); 0: no cgroup file system at all
  // "memory", "pids", "cpu", "cpuacct", "freezer" → an existing directory in which mkdir is allowed. With version 2
  // every usable controller names the same directory, and "" is there even if no controller is.
  std::map<std::string, std::filesystem::path> directories;
  std::map<std::string, std::string> reasons;      // a controller that is not above → one clause for people
  std::vector<std::filesystem::path> hierarchies;  // the caller's directory in every hierarchy, usable or not
};
CgroupBase find_cgroup_base();
// The same from the texts of /proc/self/mountinfo and /proc/self/cgroup, for tests.
CgroupBase find_cgroup_base(std::string_view mountinfo, std::string_view self_cgroup);

// The cgroups of one run: controller → its own directory.
struct RunCgroups {
  int version = 0;
  std::map<std::string, std::filesystem::path> directories;
  // Directories that runc makes itself in the hierarchies we do not use; only ever removed.
  std::vector<std::filesystem::path> foreign;
};
// The names only; nothing is made. `name` must be one path component.
RunCgroups plan_run_cgroups(const CgroupBase& base, const std::string& name);

// mkdir (existing ones are taken over) and the limits. Throws Error naming the file that refused.
void make_run_cgroups(const RunCgroups& cgroups, const CgroupLimits& limits);
// Moves a process; its later children follow. Error if it cannot be moved (it may have ended: kNotFound).
void join_run_cgroups(const RunCgroups& cgroups, pid_t pid);

// Moving a process into a cgroup waits for an RCU grace period of the whole kernel, about 10 ms, unless somebody moved
// one in the last 10 ms or so. Writing a process where it is already waits the same and changes nothing: done while
// something else is going on anyway, it makes the next real move take 0.1 ms. `warm_file` finds the file; warming never
// fails.
std::filesystem::path warm_file(const CgroupBase& base);
void warm_cgroups(const std::filesystem::path& file);

struct CgroupUsage {
  std::optional<std::int64_t> peak_memory_bytes;  // page cache included: it is what the kernel keeps
  std::optional<double> cpu_seconds;
  std::int64_t oom_kills = 0;
};
CgroupUsage read_usage(const RunCgroups& cgroups);

// At this moment; what no cgroup tells is absent. The bytes are of block devices, since the cgroup was made. v1 counts
// no delayed writes in them.
struct CgroupNow {
  std::optional<double> cpu_seconds;
  std::optional<std::int64_t> memory_bytes;  // page cache included
  std::optional<std::int64_t> read_bytes, written_bytes;
  std::optional<std::int64_t> tasks;  // processes and threads
};
CgroupNow read_now(const RunCgroups& cgroups);

// Out-of-memory kills on this machine since it started, everybody's: what a run without a memory cgroup has to go by.
std::int64_t count_machine_oom_kills();

// The cgroups a process is in, for read_usage(): somebody else's (an Engine's), never to be changed or removed by us.
RunCgroups cgroups_of(pid_t pid);
RunCgroups cgroups_of(std::string_view mountinfo, std::string_view process_cgroup);

// False if there is no freezer among them, or it does not freeze. Returns when every process is frozen.
bool freeze(const RunCgroups& cgroups);
void thaw(const RunCgroups& cgroups);  // a process frozen by v1 does not even die of SIGKILL
// Kills what is in them and removes them; missing is fine. False if something still lives after about two seconds.
bool remove_run_cgroups(const RunCgroups& cgroups);

// v2 only: controllers can be handed down only by a cgroup without processes. If this process is alone in its cgroup,
// moves it into the leaf "runner-daemon" and enables memory, pids and cpu for the siblings that runs will be. Returns
// why it could not, or nothing when delegation is in place (v1, or done before). The daemon calls it once, at its
// start.
std::optional<std::string> delegate_to_runs();
std::optional<std::string> delegate_to_runs(std::string_view mountinfo, std::string_view self_cgroup);

}  // namespace runner::os
