#include "runner/exec/checks.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runner/core/error.hpp"
#include "runner/exec/place_checks.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {
namespace {

using std::filesystem::path;

constexpr const char* kDelegation =
    "run the daemon as a systemd user service with Delegate=yes (systemctl --user enable --now runner)";

std::string setting(const path& sysctl, const char* name) {
  std::string text;
  try {
    text = os::read_file_if_exists(sysctl / name).value_or("");
  } catch (const Error&) {
    return "";
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Runs `attempt` in a child that may change its namespaces; the child's exit status is 0 or an errno.
template <class Attempt>
int errno_of_child(Attempt&& attempt) {
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(attempt());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

// Creating the namespace is not enough to know: AppArmor lets it be made and then denies everything in it.
int try_user_namespace() {
  return errno_of_child([] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return errno;
    return ::mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0 ? errno : 0;
  });
}

int try_network_namespace(unsigned uid) {
  return errno_of_child([uid] { return ::unshare(CLONE_NEWNET | (uid != 0 ? CLONE_NEWUSER : 0)) != 0 ? errno : 0; });
}

Check check_overlay() {
  Check check{.name = "overlay", .works = false, .detail = {}, .remedy = {}};
  const std::string known = os::read_file_if_exists("/proc/filesystems").value_or("");
  const bool module = ::access("/sys/module/overlay", F_OK) == 0;
  check.works = module || known.find("\toverlay\n") != std::string::npos;
  check.detail =
      check.works ? "the kernel has overlayfs" : "the kernel has no overlayfs loaded; the trial container decides";
  if (!check.works) check.remedy = "modprobe overlay (as root), or a kernel with CONFIG_OVERLAY_FS";
  return check;
}

Check check_network_off(unsigned uid) {
  Check check{.name = "network off", .works = false, .detail = {}, .remedy = {}};
  const int error = try_network_namespace(uid);
  check.works = error == 0;
  check.detail =
      error == 0 ? "an own network namespace with loopback only" : std::string("unshare: ") + std::strerror(error);
  if (error != 0) check.remedy = "sysctl user.max_net_namespaces must not be 0; see user namespaces";
  return check;
}

// runner-init's scope (tools/runner-init/scope.cpp): Landlock from its sixth interface on. By number: the headers of
// the machine that this is built on may not know it.
Check check_abstract_sockets() {
  constexpr long kCreateRuleset = 444;
  constexpr unsigned kCreateRulesetVersion = 1;
  constexpr long kFirstWithScopes = 6;
  const long version = ::syscall(kCreateRuleset, nullptr, 0, kCreateRulesetVersion);
  Check check{.name = "abstract sockets", .works = version >= kFirstWithScopes, .detail = {}, .remedy = {}};
  check.detail = check.works   ? "the host's are out of a run's reach (Landlock)"
                 : version < 0 ? "a run reaches the host's: this kernel has no Landlock"
                               : "a run reaches the host's: Landlock cannot hold them before Linux 6.12";
  if (!check.works)
    check.remedy = "a newer kernel (with landlock among its lsm=), or --network off for what you do not trust";
  return check;
}

// systemd's mixture: controllers in v1, and a v2 hierarchy without any beside them.
bool is_hybrid(const os::CgroupBase& base) {
  return base.version == 1 && std::any_of(base.hierarchies.begin(), base.hierarchies.end(), [](const path& hierarchy) {
           return hierarchy.string().starts_with("/sys/fs/cgroup/unified");
         });
}

Check check_account(unsigned uid) {
  if (uid != 0)
    return {.name = "account", .works = true, .detail = "runs keep uid " + std::to_string(uid), .remedy = {}};
  return {.name = "account",
          .works = true,
          .detail =
              "root's daemon: runs are uid 0 without capabilities, which is weaker than an ordinary user's sandbox "
              "(docs/security.md)",
          .remedy = {}};
}

}  // namespace

Check check_user_namespaces(const path& sysctl, unsigned uid, bool works, const path& sys) {
  Check check{.name = "user namespaces", .works = works, .detail = "available", .remedy = {}};
  if (uid == 0) {
    check.works = true;
    check.detail = "not needed by root's daemon";
    return check;
  }
  if (works) return check;
  if (!std::filesystem::exists(sysctl / "user")) {
    check.detail = "this kernel has none (CONFIG_USER_NS)";
    check.remedy = "use a kernel with CONFIG_USER_NS=y, or --isolation docker";
  } else if (setting(sysctl, "user/max_user_namespaces") == "0") {
    check.detail = "switched off (user.max_user_namespaces = 0)";
    check.remedy = "sudo sysctl -w user.max_user_namespaces=15000, and the same line in /etc/sysctl.d/";
  } else if (setting(sysctl, "kernel/unprivileged_userns_clone") == "0") {
    check.detail = "allowed to root only (kernel.unprivileged_userns_clone = 0)";
    check.remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1, and the same line in /etc/sysctl.d/";
  } else if (setting(sysctl, "kernel/apparmor_restrict_unprivileged_userns") == "1") {
    check.detail =
        "restricted by AppArmor (Ubuntu 23.10 and later: kernel.apparmor_restrict_unprivileged_userns = 1): "
        "they can be made, but nothing is allowed inside";
    check.remedy =
        "allow it for the runner by an AppArmor profile with \"userns,\" for runner-shim, crun and runc (a file in "
        "/etc/apparmor.d/), or for everybody with sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
  } else if (setting(sys, "fs/selinux/enforce") == "1") {
    check.detail = "refused, probably by SELinux, which is enforcing here";
    check.remedy =
        "sudo ausearch -m avc -ts recent shows the denial and audit2allow its rule (user_namespace { create }); or use "
        "--isolation docker";
  } else {
    check.detail = "refused by the kernel (inside of a container its seccomp filter may forbid them)";
    check.remedy = "ask whoever runs this machine, or use --isolation docker";
  }
  return check;
}

std::optional<LimitProblem> limit_problem(const os::CgroupBase& base, const std::string& controller) {
  if (base.directories.contains(controller)) return std::nullopt;
  const auto reason = base.reasons.find(controller);
  return LimitProblem{
      .reason = reason == base.reasons.end() ? "there is no " + controller + " cgroup here" : reason->second,
      .hint = kDelegation};
}

Check check_limits(const os::CgroupBase& base, unsigned uid) {
  Check check{.name = "cgroup limits", .works = true, .detail = {}, .remedy = {}};
  std::string enforced, missing;
  constexpr std::array<std::pair<const char*, const char*>, 3> kOptions{
      {{"memory", "--memory"}, {"pids", "--pids"}, {"cpu", "--cpus"}}};
  for (const auto& [controller, option] : kOptions) {
    if (const auto problem = limit_problem(base, controller)) {
      missing += (missing.empty() ? "" : "; ") + std::string(option) + ": " + problem->reason;
      check.remedy = uid == 0 ? "mount the cgroup file system with this controller" : problem->hint;
      check.works = false;
    } else {
      enforced += (enforced.empty() ? "" : ", ") + std::string(option);
    }
  }
  check.detail = "cgroup v" + std::to_string(base.version) + (is_hybrid(base) ? " (hybrid): " : ": ");
  if (base.version == 0) check.detail = "no cgroups: ";
  check.detail += enforced.empty() ? "no limit can be enforced" : enforced + " enforced";
  if (!missing.empty()) check.detail += "; " + missing;
  return check;
}

std::vector<Check> machine_checks(const BundleHost& host, const os::CgroupBase& base) {
  const PlaceFacts place = look_at_place(host.data.home(), true);
  return {check_user_namespaces("/proc/sys", host.uid, host.uid == 0 || try_user_namespace() == 0),
          check_overlay(),
          check_limits(base, host.uid),
          check_network_off(host.uid),
          check_abstract_sockets(),
          check_file_system(place),
          check_disk(place),
          check_account(host.uid)};
}

}  // namespace runner::exec
