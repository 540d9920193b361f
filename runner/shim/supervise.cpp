#include "runner/shim/supervise.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/container_start.hpp"
#include "runner/shim/log_copy.hpp"
#include "runner/shim/outcome.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"

namespace runner::shim {
namespace {

// Threads: one. Everything is an event of one poll(2): signals, the init socket, the deadline, the log. No periodic
// wake-ups.
class Supervisor {
 public:
  explicit Supervisor(const os::RunDirectory& run) : run_(run), spec_(read_spec(run)) {}

  bool claim() { return write_claim_once(run_, Claim{os::identify_self()}); }
  Outcome run_to_end();
  const Spec& spec() const { return spec_; }

 private:
  void open_descriptors();
  void prepare_cgroups();
  void refuse_start(const std::string& why);
  void wait_until_empty(LogCopy& log);
  bool cancelled_before_start();
  void on_cancel_request();
  bool on_init_message();
  void on_ready(pid_t init);
  void on_started();
  void on_signals();
  void on_timer();
  bool reap();
  void order_end(OrderedEnd end);
  void kill_everything();
  void kill_children();
  void set_timer(std::chrono::nanoseconds at);

  const os::RunDirectory& run_;
  Spec spec_;
  os::Fd signals_;
  os::Fd timer_;
  os::Fd socket_;  // our end of the init socket
  os::Fd init_;    // pidfd of the container's pid 1
  os::ProcessIdentity init_identity_;
  pid_t runtime_ = 0;                   // 0 once it is reaped
  bool move_init_ = false;              // into the run's cgroups, before kGo
  std::int64_t machine_oom_kills_ = 0;  // at the start
  EndFacts facts_;
};

void Supervisor::open_descriptors() {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  signals_ = os::Fd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_ = os::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  // What the runtime leaves behind when it detaches, the container's pid 1 above all, becomes our child.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (!signals_ || !timer_) throw errno_error(errno, "signalfd, timerfd");
}

// What a run without a memory cgroup has to tell an out-of-memory kill from any other. Counts everybody's.
std::int64_t count_machine_oom_kills() {
  const std::string counters = os::read_file_if_exists("/proc/vmstat").value_or("");
  constexpr std::string_view kKey = "\noom_kill ";
  const auto at = counters.find(kKey);
  return at == std::string::npos ? 0 : std::strtoll(counters.c_str() + at + kKey.size(), nullptr, 10);
}

Outcome Supervisor::run_to_end() {
  facts_.memory_limit = spec_.limits.memory_bytes;
  facts_.max_run_duration = spec_.max_run_duration;
  facts_.grace = spec_.grace;
  facts_.script_name = spec_.script_name;
  try {
    open_descriptors();
    LogCopy log(run_);
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
      throw errno_error(errno, "socketpair");
    socket_ = os::Fd(pair[0]);
    os::Fd theirs(pair[1]);
    const int on = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (!cancelled_before_start()) {
      const bool before = spec_.cgroups.version == 2;  // the runtime is forked into it
      if (before) os::make_run_cgroups(spec_.cgroups, spec_.limits);
      const StartedRuntime runtime = start_runtime(run_, spec_, theirs.get());
      runtime_ = runtime.pid;
      move_init_ = !runtime.joined;
      theirs.reset();
      if (!before) prepare_cgroups();
      machine_oom_kills_ = count_machine_oom_kills();
      wait_until_empty(log);
    }
    log.finish();
    facts_.lost_log_bytes = log.lost_bytes();
    facts_.lost_log_reason = log.lost_reason();
    if (!facts_.started && !facts_.exec_failure && facts_.runtime_words.empty())
      facts_.runtime_words = runtime_words(run_);
  } catch (const Error& error) {
    // Nothing of the container exists: every step after the runtime's start reports through facts_.
    facts_.runtime_words = error.what();
  }
  facts_.usage = os::read_usage(spec_.cgroups);
  facts_.machine_oom = count_machine_oom_kills() > machine_oom_kills_;
  return judge(facts_);
}

// While the runtime works: the container waits for kGo before it starts the script.
void Supervisor::prepare_cgroups() {
  try {
    os::make_run_cgroups(spec_.cgroups, spec_.limits);
    os::warm_cgroups(spec_.warm_cgroups_file);
  } catch (const Error& error) {
    refuse_start(error.what());
  }
}

void Supervisor::refuse_start(const std::string& why) {
  facts_.runtime_words = why;
  socket_.reset();  // init ends without having started anything
}

void Supervisor::wait_until_empty(LogCopy& log) {
  enum { kSignals, kSocket, kTimer, kLog };
  std::array<pollfd, 4> watched{pollfd{signals_.get(), POLLIN, 0}, pollfd{socket_.get(), POLLIN, 0},
                                pollfd{timer_.get(), POLLIN, 0}, pollfd{log.fifo(), POLLIN, 0}};
  for (;;) {
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[kLog].revents != 0) log.copy_some();
    // Before the signals: the last message of an init must be read while it is still a zombie with its pid.
    if (watched[kSocket].revents != 0) on_init_message();
    if (!socket_) watched[kSocket].fd = -1;
    if (watched[kTimer].revents != 0) on_timer();
    if (watched[kSignals].revents != 0) {
      on_signals();
      if (reap()) return;
    }
  }
}

// False when there is nothing more to read.
bool Supervisor::on_init_message() {
  InitRecord record;
  iovec piece{&record, sizeof record};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    socket_.reset();  // nobody holds the other end: pid 1 is gone or going; its death comes as SIGCHLD
    return false;
  }
  if (got != static_cast<ssize_t>(sizeof record) || record.version != kInitProtocolVersion) return true;
  switch (record.event) {
    case InitEvent::kReady: {
      const cmsghdr* header = CMSG_FIRSTHDR(&message);
      if (header == nullptr || header->cmsg_type != SCM_CREDENTIALS || init_) break;
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      on_ready(sender.pid);
      break;
    }
    case InitEvent::kStarted:
      on_started();
      break;
    case InitEvent::kExecFailed:
      facts_.exec_failure = record;
      break;
    case InitEvent::kEnded:
      facts_.end = record;
      break;
  }
  return true;
}

void Supervisor::on_ready(pid_t init) {
  if (facts_.ordered) {
    socket_.reset();  // cancelled while the runtime worked: the script never starts
    return;
  }
  init_ = os::Fd(static_cast<int>(::syscall(SYS_pidfd_open, init, 0)));
  init_identity_ = os::identify(init).value_or(os::ProcessIdentity{});
  try {
    if (move_init_) os::join_run_cgroups(spec_.cgroups, init);
  } catch (const Error& error) {
    refuse_start(error.what());
    return;
  }
  // If it fails, init is dead, which the next messages will tell.
  ::send(socket_.get(), &kGo, sizeof kGo, MSG_NOSIGNAL);
}

void Supervisor::on_started() {
  facts_.started = true;
  Started started{.time = utc_now(), .init = init_identity_, .deadline = {}};
  if (spec_.max_run_duration) started.deadline = os::monotonic_now() + *spec_.max_run_duration;
  if (!facts_.ordered && started.deadline) set_timer(*started.deadline);
  try {
    write_started(run_, started);
  } catch (const Error& error) {
    // A full disk: the run goes on; the daemon learns of the start from exit.json.
  }
}

void Supervisor::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (static_cast<int>(info.ssi_signo)) {
      case SIGUSR1:
        on_cancel_request();
        break;
      case SIGTERM:
      case SIGINT:
        order_end({.kind = OutcomeKind::kCanceled, .reason = "signal to the supervisor", .killed = false});
        break;
      default:
        break;
    }
  }
}

void Supervisor::on_cancel_request() {
  CancelRequest request{.reason = "cancelled", .as_failure = false};
  try {
    if (const auto written = read_cancel(run_)) request = *written;
  } catch (const Error&) {
    // A damaged request is a request all the same.
  }
  const OutcomeKind kind = request.as_failure ? OutcomeKind::kKilled : OutcomeKind::kCanceled;
  order_end({.kind = kind, .reason = request.reason, .killed = false});
}

// A request written before our signal mask was in place would have no signal to announce it.
bool Supervisor::cancelled_before_start() {
  if (::access(run_.cancel().c_str(), F_OK) != 0) return false;
  on_cancel_request();
  return true;
}

void Supervisor::order_end(OrderedEnd end) {
  if (facts_.ordered || facts_.end)
    return;  // the first reason counts; a script that has ended is not cancelled any more
  facts_.ordered = std::move(end);
  os::thaw(spec_.cgroups);
  if (init_) os::signal_process(init_, SIGTERM);  // runner-init hands it to the script's process group
  set_timer(os::monotonic_now() + spec_.grace);
}

void Supervisor::on_timer() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0) return;
  if (!facts_.ordered)
    order_end({.kind = OutcomeKind::kTimedOut, .reason = "", .killed = false});
  else if (!facts_.end)
    kill_everything();
}

void Supervisor::kill_everything() {
  facts_.ordered->killed = true;
  os::thaw(spec_.cgroups);
  if (init_) {
    os::signal_process(init_, SIGKILL);
    return;
  }
  // It has not started yet, perhaps never will: the runtime hangs. An init that comes up all the same finds the socket
  // shut.
  socket_.reset();
  kill_children();
}

// The runtime and what it has left to us so far; killing one may hand us its children, hence again after every death.
void Supervisor::kill_children() {
  const std::string self = std::to_string(::getpid());
  const auto children = os::read_file_if_exists("/proc/" + self + "/task/" + self + "/children").value_or("");
  std::istringstream list(children);
  for (pid_t child = 0; list >> child;) ::kill(child, SIGKILL);
}

// True when no child is left: the runtime has ended, and pid 1 with it everything in its namespace.
bool Supervisor::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == runtime_ && pid > 0) {
      facts_.runtime_status = status;
      runtime_ = 0;
    }
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) {
      while (socket_ && on_init_message()) {
      }  // a last record may have come with the last death
      return true;
    }
    if (pid == 0) {
      if (!init_ && facts_.ordered && facts_.ordered->killed) kill_children();
      return false;
    }
  }
}

// Absolute, CLOCK_MONOTONIC; a time that has passed fires at once.
void Supervisor::set_timer(std::chrono::nanoseconds at) {
  constexpr long kNanos = 1'000'000'000;
  itimerspec when{};
  when.it_value.tv_sec = at.count() / kNanos;
  when.it_value.tv_nsec = at.count() % kNanos;
  if (at.count() <= 0) when.it_value.tv_nsec = 1;
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

// exit.json is the run's last word; a full disk gets room from what only this run needed to start, then patience.
bool record_end(const os::RunDirectory& run, const Ended& ended) {
  constexpr int kAttempts = 60;
  constexpr int kPauseMillis = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    try {
      write_ended(run, ended);
      return true;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNoSpace) return false;
    }
    if (attempt == 0)
      ::unlink((run.bundle() / "config.json").c_str());
    else
      ::poll(nullptr, 0, kPauseMillis);
  }
  return false;
}

}  // namespace

int supervise(const os::RunDirectory& run) {
  Supervisor supervisor(run);
  if (!supervisor.claim()) return 0;
  const Outcome outcome = supervisor.run_to_end();
  const bool recorded = record_end(run, Ended{.time = utc_now(), .outcome = outcome});
  os::remove_run_cgroups(supervisor.spec().cgroups);
  return recorded ? 0 : 1;
}

}  // namespace runner::shim
