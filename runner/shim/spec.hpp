// spec.json: everything the shim must know of one run beside the bundle. Written by runner/exec, read once by the shim.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "runner/os/cgroup.hpp"
#include "runner/os/data_directory.hpp"

namespace runner::shim {

struct Spec {
  std::string run_id;
  std::vector<std::string>
      runtime_command;          // the OCI runtime's argument vector; it must detach and pass descriptor 3 on
  bool hide_cgroups = false;    // crun: cover /sys/fs/cgroup before it looks (platform.md: it refuses hybrid machines)
  bool user_namespace = false;  // hiding needs one for anybody but root
  bool join_cgroups = true;     // false: the runtime itself puts the container there (runc)
  os::RunCgroups cgroups;
  std::string warm_cgroups_file;  // os::warm_cgroups; empty: nothing to warm
  os::CgroupLimits limits;
  std::optional<std::chrono::milliseconds> max_run_duration;
  std::chrono::milliseconds grace{10'000};
  std::string script_name;  // argv[0], for messages
};

// Error(kInternal) if it is missing or damaged.
Spec read_spec(const os::RunDirectory& run);
void write_spec(const os::RunDirectory& run, const Spec& spec);

}  // namespace runner::shim
