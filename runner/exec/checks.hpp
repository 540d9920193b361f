// What `runner doctor` says about the sandbox beside the runtimes themselves: facts of this machine, each with its
// remedy.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/exec/bundle.hpp"
#include "runner/exec/sandbox.hpp"
#include "runner/os/cgroup.hpp"

namespace runner::exec {

// Probed at every call; a few milliseconds.
std::vector<Check> machine_checks(const BundleHost& host, const os::CgroupBase& base);

// The parts that are worth a test of their own. `sysctl` is /proc/sys, `sys` is /sys.
Check check_user_namespaces(const std::filesystem::path& sysctl, unsigned uid, bool works,
                            const std::filesystem::path& sys = "/sys");
Check check_limits(const os::CgroupBase& base, unsigned uid);

// Why a limit cannot be enforced here, in one clause, and the way out.
struct LimitProblem {
  std::string reason;
  std::string hint;
};
std::optional<LimitProblem> limit_problem(const os::CgroupBase& base, const std::string& controller);

}  // namespace runner::exec
