// The default isolation: an OCI runtime driven directly. Here a run becomes a bundle and a shim; the shim does the
// rest.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/exec/cdi.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/process.hpp"

namespace runner::exec {

// Everything the sandbox must know of one run; paths are absolute.
struct SandboxRun {
  std::string id;
  int attempt = 1;
  os::RunDirectory directory;                    // exists, with io/, upper/, work/, home/ made by prepare()
  std::vector<std::filesystem::path> layers;     // checkouts, uppermost first (overlay lowerdir order)
  std::string working_directory;                 // in the container: where the overlay is mounted and the script starts
  std::vector<std::string> arguments;            // the exact argument vector
  std::map<std::string, std::string> variables;  // the whole environment of the script
  std::vector<std::string> read_only_paths;      // interpreter prefixes and sys.path entries, bound at their own paths
  std::vector<std::string> cache_paths;          // model caches below the caller's home, bound read-only if they exist
  std::vector<Mount> mounts;                     // --mount
  ContainerEdits devices{};                      // of the GPUs it has; its mounts as --mount, its variables as they are
  std::string home;                              // HOME in the container, backed by directory.home()
  std::filesystem::path api{};                   // the directory of the run socket; empty: none, and no token
  RunDefinition limits;                          // duration, grace, cpus, memory, pids, shm, network
};

// A limit that somebody asked for and this machine, or its container engine, cannot enforce.
struct UnenforcedLimit {
  std::string option;  // "--memory"
  std::string reason;
  std::string hint;
};

struct Runtime {
  enum class Kind { kCrun, kRunc };
  Kind kind;
  std::filesystem::path program;
  std::string version;
};

// One line of `runner doctor`.
struct Check {
  std::string name;  // "crun", "user namespaces", "cgroup limits", …
  bool works = false;
  std::string detail;  // what was found, or why not
  std::string remedy;  // what to install or change; empty if it works
};

class Sandbox {
 public:
  // Tries crun, then runc, with a trivial container (RUNNER_OCI_RUNTIME=crun|runc|PATH picks one); nothing is thrown if
  // none works: `runtime()` is empty and `checks()` says why. `roots` holds shared mount point skeletons. Costs 20 ms
  // to 1 s, so it runs once, at the daemon's start, off the critical path.
  Sandbox(os::DataDirectory data, std::filesystem::path shim, std::filesystem::path init,
          std::filesystem::path python_package);
  ~Sandbox();

  const std::optional<Runtime>& runtime() const;  // waits for the trial to end
  std::vector<Check> checks() const;              // for doctor; probes anew what may have changed

  // Of the limits asked for, those that cannot be enforced on this machine. Before the run exists.
  std::vector<UnenforcedLimit> unenforceable(const RunDefinition& definition) const;

  // A run is about to start: warms what the kernel is slow at when it has not been done for a while (os::warm_cgroups,
  // 10 ms), on a thread of the sandbox's own. Returns at once; any number of calls is fine. Best as soon as a
  // submission comes in.
  void expect_run() const;
  // Error(kInvalid) for a --mount that cannot be. Before the run exists; of `run` only paths, mounts and limits are
  // looked at.
  void refuse_impossible_mounts(const SandboxRun& run) const;

  // Writes the bundle and spec.json. Idempotent: may be repeated after a crash before the claim.
  void prepare(const SandboxRun& run) const;
  // Starts runner-shim for a prepared run. A second shim for one run finds the claim and exits at once, harmlessly.
  // `secrets`: a memfd for runner-init (shim/init_protocol.hpp), or -1.
  os::Child launch(const os::RunDirectory& directory, int secrets = -1) const;
  // Removes what a dead shim may have left of a run outside its directory (cgroups, and processes in them). Idempotent.
  void remove_remains(const std::string& id) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::exec
