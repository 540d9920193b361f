#include "runner/shim/container_start.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <thread>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::shim {
namespace {

constexpr int kChildFailed = 126;
// The runtimes look for nothing of ours in the environment; what they read there must not come from the daemon's
// caller.
constexpr const char* kPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

// In the child: the one line that the outcome will show.
[[noreturn]] void fail(const char* what) {
  ::dprintf(STDERR_FILENO, "%s: %s\n", what, std::strerror(errno));
  ::_exit(kChildFailed);
}

bool write_text(const char* file, const char* text) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto size = static_cast<ssize_t>(std::strlen(text));
  const bool wrote = ::write(fd, text, static_cast<std::size_t>(size)) == size;
  ::close(fd);
  return wrote;
}

void become_root_of_user_namespace(uid_t uid, gid_t gid) {
  std::array<char, 48> map{};
  std::snprintf(map.data(), map.size(), "0 %u 1", uid);
  if (!write_text("/proc/self/uid_map", map.data())) fail("user namespace: write uid_map");
  if (!write_text("/proc/self/setgroups", "deny")) fail("user namespace: write setgroups");
  std::snprintf(map.data(), map.size(), "0 %u 1", gid);
  if (!write_text("/proc/self/gid_map", map.data())) fail("user namespace: write gid_map");
}

// crun looks at /sys/fs/cgroup even when told to leave cgroups alone, and refuses hybrid machines (platform.md, 2).
void hide_cgroups(bool user_namespace) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWNS | (user_namespace ? CLONE_NEWUSER : 0)) != 0)
    fail(user_namespace ? "user namespaces are not allowed to this user" : "unshare the mount namespace");
  if (user_namespace) become_root_of_user_namespace(uid, gid);
  if (::mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) fail("make mounts private");
  if (::access("/sys/fs/cgroup", F_OK) == 0 &&
      ::mount("none", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k") != 0)
    fail("hide /sys/fs/cgroup");
}

struct Prepared {
  std::vector<char*> arguments;
  int output;
  int socket;
  pid_t shim;
};

// Against a container that writes to its runtime through /proc/self/exe (CVE-2019-5736), crun and runc execute
// themselves a second time from a read-only mount of their own, and load their dozen libraries again. Executing them
// from such a mount in the first place is the same protection at once, 2 ms earlier; the variable tells them. Returns
// only if it cannot be done.
void execute_from_read_only_mount(const Prepared& prepared) {
  const int tree =
      static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, prepared.arguments[0], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (tree < 0 || ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0) return;
  std::array<char*, 3> environment{const_cast<char*>(kPath), const_cast<char*>("_LIBCONTAINER_CLONED_BINARY=1"),
                                   nullptr};
  ::syscall(SYS_execveat, tree, "", prepared.arguments.data(), environment.data(), AT_EMPTY_PATH);
}

[[noreturn]] void become_runtime(const Spec& spec, const Prepared& prepared) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = spec.engine ? prepared.socket : ::open("/dev/null", O_RDONLY);
  // The runtime hands 0, 1 and 2 to the container's init, which replaces them before the script starts.
  if (::dup2(null, 0) < 0 || ::dup2(prepared.output, 1) < 0 || ::dup2(prepared.output, 2) < 0) ::_exit(kChildFailed);
  if (spec.engine)
    ::fcntl(0, F_SETFD, 0);
  else if (prepared.socket == kInitSocket)
    ::fcntl(kInitSocket, F_SETFD, 0);
  else if (::dup2(prepared.socket, kInitSocket) < 0)
    fail("dup2");
  if (spec.hide_cgroups) hide_cgroups(spec.user_namespace);
  // Nobody waits for what a dead shim has begun: the daemon removes the run's directory, where a runtime that goes on
  // would make one again. After the change of user, which forgets it.
  if (!spec.engine && (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != prepared.shim)) ::_exit(kChildFailed);
  if (spec.hide_cgroups) {
    execute_from_read_only_mount(prepared);
  }
  std::array<char*, 2> environment{const_cast<char*>(kPath), nullptr};
  ::execve(prepared.arguments[0], prepared.arguments.data(), environment.data());
  fail(prepared.arguments[0]);
}

// fork(2) whose child is born in a v2 cgroup; negative where the kernel (before 5.7) or the cgroup refuses.
pid_t fork_into(const std::filesystem::path& cgroup) {
  const os::Fd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -1;
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<std::uint64_t>(directory.get());
  // Past the C library, which is safe here: one thread, and the child only calls the kernel until its exec.
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

}  // namespace

StartedRuntime start_runtime(const os::RunDirectory& run, const Spec& spec, int socket) {
  if (spec.runtime_command.empty()) throw Error(ErrorCode::kInternal, "spec.json: no runtime command");
  const os::Fd output = os::open_file(run.runtime_log(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW);
  ::flock(output.get(), LOCK_SH);  // await_runtime_end()
  Prepared prepared{.arguments = {}, .output = output.get(), .socket = socket, .shim = ::getpid()};
  for (const std::string& argument : spec.runtime_command)
    prepared.arguments.push_back(const_cast<char*>(argument.c_str()));
  prepared.arguments.push_back(nullptr);
  if (spec.join_cgroups && spec.cgroups.version == 2 && !spec.cgroups.directories.empty()) {
    const pid_t child = fork_into(spec.cgroups.directories.begin()->second);
    if (child == 0) become_runtime(spec, prepared);
    if (child > 0) return {.pid = child, .joined = true};
  }
  // fork, not vfork: unshare(CLONE_NEWUSER) refuses a process that shares its memory.
  const pid_t child = ::fork();
  if (child < 0) throw errno_error(errno, "fork", ErrorCode::kUnavailable);
  if (child == 0) become_runtime(spec, prepared);
  return {.pid = child, .joined = !spec.join_cgroups};
}

bool await_runtime_end(const os::RunDirectory& run, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPause{2};
  const os::Fd log(::open(run.runtime_log().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!log) return true;  // no runtime was started, or the container's init has taken over
  const auto deadline = os::monotonic_now() + patience;
  while (::flock(log.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return true;  // a file system without locks
    if (os::monotonic_now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

std::string runtime_words(const os::RunDirectory& run) {
  constexpr std::size_t kLogLimit = 1 << 20;  // bytes; runtimes say little
  constexpr std::size_t kShown = 400;         // bytes
  std::string text;
  try {
    text = os::read_file_if_exists(run.runtime_log(), kLogLimit).value_or("");
  } catch (const Error& error) {
    return error.message();
  }
  // runc: time="…" level=error msg="…", several lines, the cause first; crun: 2026-…Z: …, one line.
  std::istringstream lines(text);
  std::string last;
  std::string errors;
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (line.empty()) continue;
    last = line;
    const auto message = line.find("msg=\"");
    if (message == std::string::npos) continue;
    last = line.substr(message + 5);
    if (last.ends_with('"')) last.pop_back();
    if (line.find("level=warning") == std::string::npos && errors.find(last) == std::string::npos)
      errors += (errors.empty() ? "" : "; ") + last;
  }
  if (!errors.empty()) last = errors;
  if (last.size() > kShown) last = "…" + last.substr(last.size() - kShown);
  return last;
}

}  // namespace runner::shim
