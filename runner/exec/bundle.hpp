// A run's directory made ready for its shim: the directories the container writes in, bundle/config.json and spec.json.
#pragma once

#include <filesystem>
#include <string>

#include "runner/exec/mount_plan.hpp"
#include "runner/exec/sandbox.hpp"
#include "runner/os/cgroup.hpp"

namespace runner::exec {

// What all runs of one daemon share.
struct BundleHost {
  os::DataDirectory data;
  std::filesystem::path init;
  std::filesystem::path python_package;
  std::string machine;  // uname -m
  unsigned uid = 0;     // the daemon's, and so the script's
  unsigned gid = 0;
  std::int64_t memory_total = 0;  // bytes of RAM
  std::string token{};            // of this process, unlike any earlier one's
};
BundleHost describe_host(os::DataDirectory data, std::filesystem::path init, std::filesystem::path python_package);

// The text of config.json. Error(kInvalid) for arguments or variables that are not UTF-8 (JSON cannot carry them).
std::string make_config(const SandboxRun& run, const Runtime& runtime, const BundleHost& host, const MountPlan& plan,
                        const std::filesystem::path& root, const os::RunCgroups& cgroups);

// Error(kInvalid) for a --mount that cannot be (mount_plan.hpp).
MountPlan plan_for(const SandboxRun& run, const Runtime& runtime, const BundleHost& host);

// Everything. Idempotent until a shim has claimed the run.
void write_bundle(const SandboxRun& run, const Runtime& runtime, const BundleHost& host, const os::CgroupBase& base);

// oom_score_adj of whatever runs in a container: the kernel's first choice when memory is short, before the daemon, the
// shims and everything else of the user. Never below the daemon's own, which only root could do.
int oom_score_of_runs();

// The part of the user's queued signals and of the bytes in POSIX message queues that runs may use up:
// RLIMIT_SIGPENDING and RLIMIT_MSGQUEUE of what is in a container, soft and hard. From the daemon's own.
std::uint64_t most_pending_signals_of_runs();
std::uint64_t most_message_bytes_of_runs();

// The one name under which the cgroups of a run's attempt are made in every hierarchy. Each has its own: a slow shim of
// the last attempt removes what was its.
std::string cgroup_name(const std::string& run_id, int attempt = 1);

}  // namespace runner::exec
