#include "runner/exec/checks.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
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

Check check_disk(const path& home) {
  Check check{.name = "disk", .works = false, .detail = {}, .remedy = {}};
  struct ::statvfs info {};
  path place = home;
  while (::statvfs(place.c_str(), &info) != 0 && place.has_relative_path()) place = place.parent_path();
  const auto free = static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
  constexpr std::int64_t kLittle = std::int64_t{512}
                                   << 20;  // bytes; below this a first run's checkout and log may not fit
  check.works = free >= kLittle && info.f_favail > 1000;
  check.detail = format_size(free) + " free for " + home.string();
  if (!check.works) check.remedy = "free some disk space, or choose another place with RUNNER_HOME";
  return check;
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

Check check_user_namespaces(const path& sysctl, unsigned uid, bool works) {
  Check check{.name = "user namespaces", .works = works, .detail = "available", .remedy = {}};
  if (uid == 0) {
    check.works = true;
    check.detail = "not needed by root's daemon";
    return check;
  }
  if (works) return check;
  if (setting(sysctl, "user/max_user_namespaces") == "0") {
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
  check.detail = "cgroup v" + std::to_string(base.version) + ": ";
  if (base.version == 0) check.detail = "no cgroups: ";
  check.detail += enforced.empty() ? "no limit can be enforced" : enforced + " enforced";
  if (!missing.empty()) check.detail += "; " + missing;
  return check;
}

std::vector<Check> machine_checks(const BundleHost& host, const os::CgroupBase& base) {
  return {check_user_namespaces("/proc/sys", host.uid, host.uid == 0 || try_user_namespace() == 0),
          check_overlay(),
          check_limits(base, host.uid),
          check_network_off(host.uid),
          check_disk(host.data.home()),
          check_account(host.uid)};
}

}  // namespace runner::exec
