// Which OCI runtime works here, found out by running a trivial container exactly as a run would be.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "runner/exec/bundle.hpp"
#include "runner/exec/sandbox.hpp"

namespace runner::exec {

struct TrialResult {
  std::optional<Runtime> runtime;  // the first one that worked
  // One per candidate, in the order tried, the one that worked last: works, what it is, or why it failed.
  std::vector<Check> checks;
};

// `choice`: RUNNER_OCI_RUNTIME, or empty for crun, then runc. `search_path`: a PATH. An answer that still applies (same
// programs, kernel, user) is taken from data.cache(); `ask_anew` ignores it and tries every candidate, not only up to
// the first that works. Ends early, with nothing, when stop is requested.
TrialResult try_runtimes(const BundleHost& host, const std::filesystem::path& shim, const std::string& choice,
                         const std::string& search_path, bool ask_anew, std::stop_token stop);

// Starts the shim of a prepared run; what it says before it claims the run goes to runtime.log. `secrets`: a memfd for
// it (shim::Spec::secrets), or -1.
os::Child launch_shim(const std::filesystem::path& shim, const os::RunDirectory& directory, int secrets = -1);

}  // namespace runner::exec
