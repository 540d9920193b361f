#include "runner/exec/seccomp.hpp"

#include <sched.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace runner::exec {
namespace {

using nlohmann::json;

// Kernel surface that no training script needs. Names a machine lacks are skipped by libseccomp.
constexpr std::array kDenied{
    // other processes and the kernel's keys
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "add_key",
    "request_key",
    "keyctl",
    // namespaces and mounts
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "name_to_handle_at",
    "open_by_handle_at",
    // large or old kernel interfaces
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "fanotify_init",
    "lookup_dcookie",
    "quotactl",
    "quotactl_fd",
    "nfsservctl",
    "sysfs",
    "uselib",
    "ustat",
    "vmsplice",
    "personality",
    "modify_ldt",
    // the machine itself
    "syslog",
    "reboot",
    "acct",
    "clock_settime",
    "settimeofday",
    "sethostname",
    "setdomainname",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "ioperm",
    "iopl",
    "swapon",
    "swapoff",
    "vhangup",
    "migrate_pages",
    "move_pages",
};

constexpr std::array<std::uint64_t, 7> kNamespaceFlags{CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                                       CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

json masked_argument(unsigned index, std::uint64_t mask, std::uint64_t value) {
  return {{"index", index}, {"value", mask}, {"valueTwo", value}, {"op", "SCMP_CMP_MASKED_EQ"}};
}

json deny(json names, int error, json arguments = json::array()) {
  json rule{{"names", std::move(names)}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", error}};
  if (!arguments.empty()) rule["args"] = std::move(arguments);
  return rule;
}

}  // namespace

json seccomp_filter(const std::string& machine) {
  // One architecture only: a call through another one's table (int 0x80, x32) is killed, so it is no way around.
  const char* architecture = machine == "x86_64"    ? "SCMP_ARCH_X86_64"
                             : machine == "aarch64" ? "SCMP_ARCH_AARCH64"
                                                    : nullptr;
  if (architecture == nullptr) return json::object();

  json rules = json::array();
  rules.push_back(deny(kDenied, EPERM));
  for (const std::uint64_t flag : kNamespaceFlags)
    rules.push_back(deny({"clone"}, EPERM, json::array({masked_argument(0, flag, flag)})));
  // Its flags are behind a pointer, where no filter can look; the C library falls back to clone.
  rules.push_back(deny({"clone3"}, ENOSYS));
  constexpr std::uint64_t kLow32 = 0xffffffff;  // the kernel ignores the upper half of these arguments, so must we
  constexpr std::uint64_t kTiocsti = 0x5412;    // types into the terminal
  constexpr std::uint64_t kTioclinux = 0x541C;  // pastes into a console's
  for (const std::uint64_t request : {kTiocsti, kTioclinux})
    rules.push_back(deny({"ioctl"}, EPERM, json::array({masked_argument(1, kLow32, request)})));
  // Reaches the machine around this one; no network namespace holds it.
  constexpr std::uint64_t kVsock = 40;
  rules.push_back(deny({"socket"}, EPERM, json::array({masked_argument(0, kLow32, kVsock)})));
  constexpr std::uint64_t kNetlink = 16, kAudit = 9;
  rules.push_back(
      deny({"socket"}, EPERM, json::array({masked_argument(0, kLow32, kNetlink), masked_argument(2, kLow32, kAudit)})));
  return {{"defaultAction", "SCMP_ACT_ALLOW"},
          {"architectures", json::array({architecture})},
          {"syscalls", std::move(rules)}};
}

}  // namespace runner::exec
