// spec.json: everything the shim must know of one run beside the bundle. Written by runner/exec, read once by the shim.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/os/cgroup.hpp"
#include "runner/os/data_directory.hpp"

namespace runner::shim {

struct Spec {
  std::string run_id;
  int attempt = 1;
  // The OCI runtime's argument vector, which must detach and pass descriptor 3 on; or runner-engine's, which must stay.
  std::vector<std::string> runtime_command;
  bool engine = false;          // the latter: the container is an Engine's
  bool hide_cgroups = false;    // crun: cover /sys/fs/cgroup before it looks (platform.md: it refuses hybrid machines)
  bool user_namespace = false;  // hiding needs one for anybody but root
  bool join_cgroups = true;     // false: the runtime itself puts the container there (runc)
  os::RunCgroups cgroups;
  std::string warm_cgroups_file;  // os::warm_cgroups; empty: nothing to warm
  os::CgroupLimits limits;
  std::optional<std::chrono::milliseconds> max_run_duration;
  std::chrono::milliseconds grace{10'000};
  std::optional<std::int64_t> max_log_bytes{};  // that are kept of the script's output; none: all
  std::string script_name;                      // argv[0], for messages
  std::vector<std::string> candidates{};        // the programs of which one runs the script (runner-init --try)
  std::string image{};                          // its reference, for messages; empty: none
  bool secrets = false;  // a memfd with them, or with the run's token, comes as descriptor kSecretsDescriptor
};

inline constexpr int kSecretsDescriptor = 3;  // of runner-shim, if Spec::secrets

// Error(kInternal) if it is missing or damaged.
Spec read_spec(const os::RunDirectory& run);
void write_spec(const os::RunDirectory& run, const Spec& spec);

}  // namespace runner::shim
