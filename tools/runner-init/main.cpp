// runner-init [--connect SOCKET] [--overlay] [--no-core] [--try PROGRAM]... LOG ARGUMENT...: pid 1 of every container.
// Static, no exceptions, no allocation.
//
// Points stdout and stderr at the FIFO LOG, starts ARGUMENT... (behind the first PROGRAM that exists, if any is named)
// in a session of its own, reaps everything, passes signals on to the script's process group and ends when the script
// does; the kernel then kills what is left of the pid namespace. Talks to the shim on descriptor 3 or, with --connect,
// through SOCKET (runner/shim/init_protocol.hpp); when that closes, the shim is dead and everything here is killed.
// --overlay: the working directory must be an overlay mount, or nothing is started. --no-core: no core dumps, unless
// the script raises the limit again. Exit status: the script's, 128+N for a signal, 127 if it could not be started, 125
// for a lost shim.
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/shim/init_protocol.hpp"
#include "tools/runner-init/execs.hpp"
#include "tools/runner-init/link.hpp"
#include "tools/runner-init/scope.hpp"

namespace {

using runner::shim::InitEvent;
using runner::shim::InitRecord;
using runner::shim::InitStep;
namespace protocol = runner::shim;
using runner::init::end_with_shim;
using runner::init::give_up;
using runner::init::hear;
using runner::init::kNotStarted;
using runner::init::message;
using runner::init::report;

constexpr int kByeMillis = 1000;  // for the shim to read a dying cgroup
constexpr int kMostCandidates = 8;
// Of a round: a script that makes more than that, on purpose or not, must not keep us from what the shim says.
constexpr int kMostSignals = 32;
constexpr int kMostReaped = 64;
constexpr int kRestMillis = 10;  // where poll itself fails

struct Options {
  const char* connect = nullptr;
  bool overlay = false;
  bool no_core = false;
  char* candidates[kMostCandidates] = {};
  int candidate_count = 0;
  char** command = nullptr;  // [0] is the slot of LOG, free for a candidate once the log is open
};

bool paused = false;         // by kStop
std::int32_t passed_on = 0;  // the last signal that came from outside of the container

// An Engine's container inherits no descriptor of ours.
void connect_to_shim(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    ::_exit(protocol::kLostShimStatus);
  if (fd != protocol::kInitSocket) {
    ::dup3(fd, protocol::kInitSocket, O_CLOEXEC);
    ::close(fd);
  }
}

void open_standard_descriptors(const char* log) {
  // Without a reader this open would wait for one for ever; with O_NONBLOCK it fails, and no reader means no shim.
  const int out = ::open(log, O_WRONLY | O_NONBLOCK);
  if (out < 0) give_up(InitStep::kOpenLog, errno);
  ::fcntl(out, F_SETFL, ::fcntl(out, F_GETFL) & ~O_NONBLOCK);
  ::dup2(out, 1);
  ::dup2(out, 2);
  if (out > 2) ::close(out);
  const int in = ::open("/dev/null", O_RDONLY);
  if (in > 0) {
    ::dup2(in, 0);
    ::close(in);
  }
}

// An Engine that does not know the volume's type would give us an empty directory instead of the snapshot.
void require_overlay() {
  struct statfs system {};
  struct stat here {};
  struct stat root {};
  const bool mounted = ::statfs(".", &system) == 0 && system.f_type == OVERLAYFS_SUPER_MAGIC &&
                       ::stat(".", &here) == 0 && ::stat("/", &root) == 0 && here.st_dev != root.st_dev;
  if (!mounted) give_up(InitStep::kWorkingDirectory, 0);
}

void forbid_core_dumps() {
  rlimit limit{};
  ::getrlimit(RLIMIT_CORE, &limit);
  limit.rlim_cur = 0;
  ::setrlimit(RLIMIT_CORE, &limit);
}

// Everything of `size` bytes from one descriptor to the other.
bool copy_bytes(int from, int to, unsigned long size) {
  while (size > 0) {
    const ssize_t got = ::read(from, message, size < sizeof message ? size : sizeof message);
    if (got <= 0 || ::write(to, message, static_cast<std::size_t>(got)) != got) return false;
    size -= static_cast<unsigned long>(got);
  }
  return true;
}

// A text up to its NUL; false at the end of the file, or if it is longer than there is room.
bool read_word(int from, char* word, std::size_t room) {
  for (std::size_t at = 0; at < room; ++at) {
    if (::read(from, word + at, 1) != 1) return false;
    if (word[at] == '\0') return true;
  }
  return false;
}

// In place of the empty one, for everything that is started here. What was given to this process itself stays as it is.
bool set_variable(const char* name, int from, std::size_t size) {
  static char variable[protocol::kMostVariableBytes];
  const std::size_t prefix = ::strlen(name) + 1;
  if (prefix + size + 1 > sizeof variable) return false;
  ::memcpy(variable, name, prefix - 1);
  variable[prefix - 1] = '=';
  if (::read(from, variable + prefix, size) != static_cast<ssize_t>(size)) return false;
  for (char** place = environ; *place != nullptr; ++place)
    if (::strncmp(*place, variable, prefix) == 0) {
      *place = variable;
      return true;
    }
  return false;
}

// A secret lies in a tmpfs of this container and nowhere else.
bool write_secret(const char* name, int from, std::size_t size) {
  const int directory = ::open(protocol::kSecretsTarget, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return false;
  const int file = ::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
  ::close(directory);
  if (file < 0) return false;
  const bool written = copy_bytes(from, file, size);
  ::close(file);
  return written;
}

void take_secrets(int from) {
  char name[256];
  char size[24];
  errno = 0;
  while (read_word(from, name, sizeof name)) {
    if (!read_word(from, size, sizeof size)) give_up(InitStep::kSecrets, EIO);
    const std::size_t bytes = ::strtoul(size, nullptr, 10);
    const bool taken =
        name[0] == protocol::kVariableMark ? set_variable(name + 1, from, bytes) : write_secret(name, from, bytes);
    if (!taken) give_up(InitStep::kSecrets, errno != 0 ? errno : EIO);
  }
  ::memset(message, 0, sizeof message);
}

void wait_for_go() {
  report(InitEvent::kReady);
  int descriptors[3];
  const ssize_t got = hear(descriptors, 0);
  if (got != 1 || message[0] != protocol::kGo) end_with_shim();
  if (descriptors[0] >= 0) {
    take_secrets(descriptors[0]);
    ::close(descriptors[0]);
  }
}

pid_t start_script(const Options& options) {
  // vfork: the child borrows this memory until its exec, so it can leave its errno here, and nothing is copied. Nobody
  // is here yet who could stop it.
  volatile bool failed = false;
  volatile int error = 0;
  volatile int chosen = 0;
  char** const slot = options.command;
  const pid_t child = ::vfork();
  if (child == 0) {
    runner::init::begin_child();
    if (options.candidate_count == 0) {
      ::execvp(slot[1], slot + 1);
      error = errno;
    }
    for (int i = 0; i < options.candidate_count; ++i) {
      chosen = i;
      slot[0] = options.candidates[i];
      ::execvp(slot[0], slot);
      if (i == 0 || errno != ENOENT) error = errno;  // what stands in the way of one that is there says more
    }
    failed = true;
    ::_exit(kNotStarted);
  }
  if (child < 0) give_up(InitStep::kExec, errno);
  if (failed) {
    if (options.candidate_count > 0) give_up(error == ENOENT ? InitStep::kCandidates : InitStep::kExec, error);
    // A file that is there and yet "does not exist" is a script whose first line names a missing interpreter.
    const bool there = error == ENOENT && ::access(slot[1], F_OK) == 0;
    give_up(there ? InitStep::kInterpreter : InitStep::kExec, error);
  }
  report(InitEvent::kStarted, chosen, static_cast<std::uint32_t>(child));
  return child;
}

std::int64_t micros(const timeval& time) { return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; }

[[noreturn]] void end_with_script(int status, bool await_bye) {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  InitRecord record;
  record.event = InitEvent::kEnded;
  record.value = status;
  record.detail = static_cast<std::uint32_t>(passed_on);
  record.user_micros = micros(usage.ru_utime);
  record.system_micros = micros(usage.ru_stime);
  record.peak_kib = usage.ru_maxrss;
  report(record);
  if (await_bye) {
    pollfd answer{protocol::kInitSocket, POLLIN, 0};
    while (::poll(&answer, 1, kByeMillis) < 0 && errno == EINTR) {
    }
  }
  ::_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

// A child that asked to be traced (PTRACE_TRACEME) made us its tracer. It has not ended, and shall go on.
void let_go(pid_t child, int signal) { ::ptrace(PTRACE_DETACH, child, nullptr, signal == SIGTRAP ? 0 : signal); }

// False if there may be more.
bool reap_some(pid_t script, bool await_bye) {
  for (int reaped = 0; reaped < kMostReaped; ++reaped) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return true;
    if (WIFSTOPPED(status)) {
      let_go(pid, WSTOPSIG(status));
      continue;
    }
    if (pid == script) end_with_script(status, await_bye);
    runner::init::exec_ended(pid, status);
  }
  return false;
}

void on_shim() {
  int descriptors[3];
  const ssize_t got = hear(descriptors, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) end_with_shim();
  const auto size = static_cast<std::size_t>(got);
  std::uint32_t id = 0;
  if (size >= protocol::kExecHeader) ::memcpy(&id, message + 1, sizeof id);
  switch (message[0]) {
    case protocol::kStop:
      ::kill(-1, SIGSTOP);
      paused = true;
      break;
    case protocol::kContinue:
      ::kill(-1, SIGCONT);
      paused = false;
      break;
    case protocol::kStartCommand:
      runner::init::start_exec(id, size, descriptors);
      break;
    case protocol::kKillCommand:
      runner::init::kill_exec(id);
      break;
    default:
      break;
  }
  for (const int descriptor : descriptors)
    if (descriptor >= 0) ::close(descriptor);
}

// Without the real-time signals, of which a process of the run could queue thousands: what the first process of a pid
// namespace neither blocks nor handles is dropped when it is sent.
sigset_t signals_of_use() {
  constexpr int kFirstRealTime = 32;  // of the kernel's; SIGRTMIN is the C library's
  sigset_t used;
  ::sigemptyset(&used);
  for (int number = 1; number < kFirstRealTime; ++number) ::sigaddset(&used, number);
  return used;
}

void take_signals(int signals, pid_t script) {
  signalfd_siginfo info;
  for (int taken = 0; taken < kMostSignals; ++taken) {
    if (::read(signals, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return;
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;  // only wakes us
    // kill() from another pid namespace. A process in here cannot say so with sigqueue(): such codes are the kernel's.
    if (info.ssi_pid == 0 && info.ssi_code == SI_USER) passed_on = number;
    ::kill(-script, number);
  }
}

[[noreturn]] void serve(int signals, pid_t script, bool await_bye) {
  constexpr std::size_t kFixed = 2;
  pollfd watched[kFixed + protocol::kMostExecs] = {{signals, POLLIN, 0}, {protocol::kInitSocket, POLLIN, 0}};
  bool all_reaped = true;
  for (;;) {
    const std::size_t starting = runner::init::starting_execs(watched + kFixed);
    const int patience = !all_reaped ? 0 : starting > 0 && !paused ? runner::init::kNudgeMillis : -1;
    // It fails when a process of the run has taken our RLIMIT_NOFILE away (prlimit). Nothing below waits or needs it.
    if (::poll(watched, kFixed + starting, patience) < 0 && errno != EINTR) ::poll(nullptr, 0, kRestMillis);
    on_shim();
    take_signals(signals, script);
    all_reaped = reap_some(script, await_bye);  // whatever was told: a flood of other signals can hold SIGCHLD back
    if (!paused) runner::init::look_at_starting_execs();
  }
}

bool read_options(int argc, char* argv[], Options& options) {
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    if (::strcmp(argv[at], "--overlay") == 0)
      options.overlay = true;
    else if (::strcmp(argv[at], "--no-core") == 0)
      options.no_core = true;
    else if (::strcmp(argv[at], "--connect") == 0 && at + 1 < argc)
      options.connect = argv[++at];
    else if (::strcmp(argv[at], "--try") == 0 && at + 1 < argc && options.candidate_count < kMostCandidates)
      options.candidates[options.candidate_count++] = argv[++at];
    else
      return false;
  }
  options.command = argv + at;
  return argc - at >= 2;
}

}  // namespace

int main(int argc, char* argv[]) {
  Options options;
  if (!read_options(argc, argv, options)) return kNotStarted;
  // The script runs under the same uid: without this it could open our memory and descriptors through /proc/1.
  ::prctl(PR_SET_DUMPABLE, 0);
  if (options.connect != nullptr)
    connect_to_shim(options.connect);
  else
    ::fcntl(protocol::kInitSocket, F_SETFD, FD_CLOEXEC);
  // Blocked signals stay pending even for pid 1, which otherwise never sees one that has no handler.
  const sigset_t used = signals_of_use();
  ::sigprocmask(SIG_SETMASK, &used, nullptr);
  const int signals = ::signalfd(-1, &used, SFD_CLOEXEC | SFD_NONBLOCK);
  open_standard_descriptors(options.command[0]);
  if (options.overlay) require_overlay();
  if (options.no_core) forbid_core_dumps();
  runner::init::keep_to_this_container();
  wait_for_go();
  const pid_t script = start_script(options);
  serve(signals, script, options.connect != nullptr);
}
