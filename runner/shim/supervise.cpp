#include "runner/shim/supervise.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/container_start.hpp"
#include "runner/shim/end_record.hpp"
#include "runner/shim/stack_request.hpp"
#include "runner/shim/supervisor.hpp"

namespace runner::shim {
namespace {

// After the container's pid 1 has died without a word: how long the Engine may take to say why.
constexpr std::chrono::seconds kEngineWords{5};
// Pythons that show their stacks before SIGTERM goes to the rest of the script's group, at most; a write for each word
// of a hundred threads' stacks takes a while on a busy machine.
constexpr std::chrono::seconds kForFirstStacks{5};
constexpr std::chrono::seconds kBetweenKills{2};          // of a container that does not die
constexpr std::chrono::milliseconds kForLastStacks{500};  // after the grace, at most
constexpr std::chrono::milliseconds kBetweenLooks{20};    // whether they have printed and ended

sigset_t block_all_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  return all;
}

}  // namespace

void Supervisor::open_descriptors() {
  const sigset_t all = block_all_signals();
  signals_ = os::Fd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_ = os::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  // What the runtime leaves behind when it detaches, the container's pid 1 above all, becomes our child.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (!signals_ || !timer_) throw errno_error(errno, "signalfd, timerfd");
  sampler_.open();
}

void Supervisor::take_secrets() {
  if (!spec_.secrets) return;
  if (::fcntl(kSecretsDescriptor, F_SETFD, FD_CLOEXEC) != 0)
    throw Error(ErrorCode::kUnavailable, "the run's secrets were not handed over");
  secrets_ = os::Fd(kSecretsDescriptor);
}

Outcome Supervisor::run_to_end() {
  facts_.memory_limit = spec_.limits.memory_bytes;
  facts_.max_run_duration = spec_.max_run_duration;
  facts_.grace = spec_.grace;
  facts_.script_name = spec_.script_name;
  facts_.candidates = spec_.candidates;
  facts_.image = spec_.image;
  try {
    take_secrets();
    open_descriptors();
    LogCopy log(run_, spec_.max_log_bytes);
    execs_.emplace(run_);
    if (!cancelled_before_start()) {
      start_container();
      machine_oom_kills_ = os::count_machine_oom_kills();
      wait_until_empty(log);
    }
    log.finish();
    facts_.lost_log_bytes = log.lost_bytes();
    facts_.lost_log_reason = log.lost_reason();
    log_bytes_over_limit_ = log.bytes_over_limit();
    if (!facts_.started && !facts_.exec_failure && facts_.runtime_words.empty())
      facts_.runtime_words = runtime_words(run_);
  } catch (const Error& error) {
    // Nothing of the container exists: every step after the runtime's start reports through facts_.
    facts_.runtime_words = error.what();
  }
  if (!spec_.engine) read_usage(spec_.cgroups);
  sampler_.stop();
  facts_.sampled = sampler_.usage();
  facts_.running_seconds = sampler_.running_seconds();
  facts_.machine_oom = os::count_machine_oom_kills() > machine_oom_kills_;
  return judge(facts_);
}

// A runtime that failed before the container's init was up has started nothing of the script: it may be tried again.
// runc now and then loses its own first process on a busy machine.
bool Supervisor::try_runtime_again() {
  constexpr int kMostRestarts = 2;
  const bool failed = !facts_.started && !facts_.exec_failure && !init_ && facts_.runtime_status != 0;
  if (spec_.engine || !failed || facts_.ordered || !facts_.runtime_words.empty() || restarts_ >= kMostRestarts)
    return false;
  ++restarts_;
  try {
    os::remove_tree(run_.runtime_state());
    os::make_directories(run_.runtime_state());
    ::unlink(run_.runtime_log().c_str());
    facts_.runtime_status = 0;
    link_.close();
    start_container();
    return true;
  } catch (const Error& error) {
    facts_.runtime_words = error.what();
    return false;
  }
}

void Supervisor::start_container() {
  os::Fd theirs;
  if (spec_.engine) {
    link_.listen(run_);
    engine_.open(theirs);
  } else {
    link_.open_pair(theirs);
  }
  const bool before = !spec_.engine && spec_.cgroups.version == 2;  // the runtime is forked into it
  if (before) os::make_run_cgroups(spec_.cgroups, spec_.limits);
  const StartedRuntime runtime = start_runtime(run_, spec_, theirs.get());
  runtime_ = runtime.pid;
  move_init_ = !runtime.joined;
  theirs.reset();
  if (!before && !spec_.engine) prepare_cgroups();
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
  link_.close();  // init ends without having started anything
}

void Supervisor::wait_until_empty(LogCopy& log) {
  enum { kSignals, kTimer, kSample, kLog, kInit, kEngine, kInitDeath, kFixed };
  std::vector<pollfd> watched;
  while (!is_empty()) {
    // Negative ones are not looked at. All readiness is noted before anything is done: a descriptor that is closed
    // while it is done gives its number to the next one that is opened.
    watched.assign(kFixed, {-1, POLLIN, 0});
    watched[kSignals].fd = signals_.get();
    watched[kTimer].fd = timer_.get();
    watched[kSample].fd = sampler_.fd();
    watched[kLog].fd = log.fifo();
    watched[kInit].fd = link_.fd();
    watched[kEngine].fd = engine_.fd();
    if (spec_.engine && !init_dead_) watched[kInitDeath].fd = init_.get();
    execs_->add_to(watched);
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[kLog].revents != 0) log.copy_some();
    // Before deaths: the last message of an init must be read while it is still a zombie with its pid.
    const int refusal = !facts_.started || facts_.end || !link_ ? ESRCH : started_.paused ? EBUSY : 0;
    for (std::size_t i = kFixed; i < watched.size(); ++i)
      if (watched[i].revents != 0) execs_->on_ready(watched[i].fd, link_, refusal);
    if (watched[kInit].revents != 0) read_init();
    if (watched[kEngine].revents != 0) on_engine();
    if (watched[kInitDeath].revents != 0) on_init_death();
    if (watched[kTimer].revents != 0) on_timer();
    if (watched[kSample].revents != 0) sampler_.on_timer();
    if (watched[kSignals].revents != 0) on_signals();
  }
  // runner-engine ends with its socket; nothing waits for an Engine that hangs.
  engine_.close();
  if (runtime_ != 0) {
    ::kill(runtime_, SIGKILL);
    ::waitpid(runtime_, nullptr, 0);
  }
}

void Supervisor::read_init() {
  while (const auto received = link_.receive()) on_init(*received);
}

void Supervisor::on_init(const InitLink::Received& received) {
  const InitRecord& record = received.record;
  switch (record.event) {
    case InitEvent::kReady:
      if (!init_) on_ready(received.sender);
      break;
    case InitEvent::kStarted:
      on_started(record);
      break;
    case InitEvent::kExecFailed:
      facts_.exec_failure = record;
      break;
    case InitEvent::kEnded:
      on_ended(record);
      break;
    case InitEvent::kExecStarted:
    case InitEvent::kExecRefused:
    case InitEvent::kExecEnded:
      execs_->on_record(record);
      break;
  }
}

void Supervisor::on_ready(pid_t init) {
  if (facts_.ordered) {
    link_.close();  // cancelled while the runtime worked: the script never starts
    return;
  }
  if (init > 0) {  // 0: an Engine in another pid namespace than ours; then the link is the only way to reach it
    init_ = os::Fd(static_cast<int>(::syscall(SYS_pidfd_open, init, 0)));
    init_identity_ = os::identify(init).value_or(os::ProcessIdentity{});
  }
  try {
    if (spec_.engine && init > 0)
      engine_cgroups_ = os::cgroups_of(init);
    else if (move_init_)
      os::join_run_cgroups(spec_.cgroups, init);
  } catch (const Error& error) {
    if (!spec_.engine) return refuse_start(error.what());
    // Somebody else's cgroups are for the figures only.
  }
  // If it fails, init is dead, which the next messages will tell.
  link_.send_go(secrets_.get());
  secrets_.reset();
}

void Supervisor::on_started(const InitRecord& record) {
  const auto candidate = static_cast<std::size_t>(record.value);
  facts_.started = true;
  script_ = static_cast<pid_t>(record.detail);
  started_.time = utc_now();
  started_.init = init_identity_;
  if (candidate < spec_.candidates.size()) started_.interpreter = spec_.candidates[candidate];
  if (spec_.max_run_duration) started_.deadline = os::monotonic_now() + *spec_.max_run_duration;
  if (!facts_.ordered && started_.deadline) set_timer(*started_.deadline);
  sampler_.start(init_ ? init_identity_.pid : 0, spec_.engine ? engine_cgroups_ : spec_.cgroups);
  publish_started();
}

void Supervisor::publish_started() {
  try {
    write_started(run_, started_);
  } catch (const Error&) {
    // A full disk: the run goes on; the daemon learns of the start from exit.json.
  }
}

// Figures are no reason to lose a run's end.
void Supervisor::read_usage(const os::RunCgroups& cgroups) {
  try {
    facts_.usage = os::read_usage(cgroups);
  } catch (const std::exception&) {
  }
}

void Supervisor::on_ended(const InitRecord& record) {
  facts_.end = record;
  sampler_.stop();
  if (!spec_.engine) return;
  read_usage(engine_cgroups_);  // they go with init, which waits for this
  link_.send(kBye);
}

void Supervisor::on_init_death() {
  init_dead_ = true;
  read_init();
  // Killed from outside: whether for memory only the Engine knows.
  if (!facts_.end && !facts_.exec_failure && !facts_.ordered) set_timer(os::monotonic_now() + kEngineWords);
}

void Supervisor::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (static_cast<int>(info.ssi_signo)) {
      case SIGUSR1:
        on_cancel_request();
        break;
      case SIGUSR2:
        on_pause_request();
        break;
      case SIGTERM:
      case SIGINT:
        order_end({.kind = OutcomeKind::kCanceled, .reason = "signal to the supervisor"});
        break;
      default:
        break;
    }
  }
}

void Supervisor::order_end(OrderedEnd end) {
  if (facts_.ordered || facts_.end)
    return;  // the first reason counts; a script that has ended is not cancelled any more
  facts_.ordered = std::move(end);
  let_go_on();
  sampler_.go_on();
  grace_end_ = os::monotonic_now() + spec_.grace;
  ask_to_end();
  if (stacks_first_)
    await_stacks(kForFirstStacks);
  else
    set_timer(grace_end_);
}

// The polite signal. At its time limit a Python that would die of it without a word shows where it was first: a shell
// that has started it would end at once, and the container with it.
void Supervisor::ask_to_end() {
  if (!init_) return;
  if (facts_.ordered->kind != OutcomeKind::kCanceled) {
    const os::ProcessTree tree = os::read_process_tree(init_identity_.pid, os::kMostFilesOfLook);
    sampler_.look_before_signal(tree);
    if (facts_.ordered->kind == OutcomeKind::kTimedOut) {
      StackAnswer answer = ask_for_stacks(tree, script_, StackRequest::kPolitely);
      stacks_possible_ = answer.possible;
      facts_.ordered->asked_for_stacks = answer.asked;
      stacks_first_ = answer.asked;
      printing_ = std::move(answer.printing);
      if (answer.asked) return;
    }
  }
  os::signal_process(init_, SIGTERM);  // runner-init hands it to the script's process group
}

void Supervisor::end_the_others() {
  const os::ProcessTree tree = os::read_process_tree(init_identity_.pid, os::kMostFilesOfLook);
  if (!end_politely(tree, script_)) {
    os::signal_process(init_, SIGTERM);
    link_.send(kContinue);
  }
  set_timer(grace_end_);
}

// The grace is over: Pythons that had something else to do with it show where they are. True: they get a moment for it.
bool Supervisor::ask_for_last_words() {
  OrderedEnd& ordered = *facts_.ordered;
  if (!stacks_possible_ || ordered.killed) return false;
  ordered.killed = true;
  const os::ProcessTree tree = os::read_process_tree(init_identity_.pid, os::kMostFilesOfLook);
  StackAnswer answer = ask_for_stacks(tree, script_, StackRequest::kAtLast);
  if (!answer.asked) return false;
  ordered.asked_for_stacks = true;
  printing_ = std::move(answer.printing);
  await_stacks(kForLastStacks);
  return true;
}

// The timer expires when those that print may have done it.
void Supervisor::await_stacks(std::chrono::nanoseconds most) {
  printing_end_ = os::monotonic_now() + most;
  if (!facts_.ordered->killed) printing_end_ = std::min(printing_end_, grace_end_);
  set_timer(std::min(os::monotonic_now() + kBetweenLooks, printing_end_));
}

bool Supervisor::stacks_awaited() {
  const auto now = os::monotonic_now();
  if (now >= printing_end_ || !any_lives(printing_)) {
    printing_.clear();
    return false;
  }
  set_timer(std::min(now + kBetweenLooks, printing_end_));
  return true;
}

void Supervisor::on_timer() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0) return;
  if (init_dead_)
    gave_engine_up_ = true;
  else if (!facts_.ordered)
    order_end({.kind = OutcomeKind::kTimedOut, .reason = ""});
  else if (stacks_awaited())
    return;
  else if (std::exchange(stacks_first_, false) && os::monotonic_now() < grace_end_)
    end_the_others();
  else if (!facts_.end && !ask_for_last_words())
    kill_everything();
}

void Supervisor::kill_everything() {
  facts_.ordered->killed = true;
  let_go_on();
  if (init_) {
    if (spec_.engine) os::thaw(engine_cgroups_);  // should the Engine not be there to do it; only root's daemon may
    os::signal_process(init_, SIGKILL);
    // A container that somebody else froze dies once its Engine lets it go on: it is asked until it does.
    set_timer(os::monotonic_now() + kBetweenKills);
    return;
  }
  // It has not started yet, perhaps never will: the runtime or the Engine hangs. An init that comes up all the same
  // finds the socket shut. One that cannot be seen from here ends when its link closes.
  link_.close();
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
      // What a runtime leaves that failed half-way waits for it in vain.
      if (status != 0 && !init_ && !spec_.engine) kill_children();
    }
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) {
      if (link_) read_init();  // a last record may have come with the last death
      return true;
    }
    if (pid == 0) {
      if (!init_ && facts_.ordered && facts_.ordered->killed) kill_children();
      return false;
    }
  }
}

// Nothing of the container lives any more.
bool Supervisor::is_empty() {
  const bool childless = reap();
  if (!spec_.engine) return childless && !try_runtime_again();
  // Init is the Engine's child. While it lives, runner-engine may come and go; when it is dead, so is its pid
  // namespace, and the Engine's word is wanted only if init left none.
  if (childless && engine_) on_engine();
  if (init_ && !init_dead_) {
    if (childless) follow_again();
    return false;
  }
  // An init in another pid namespace than ours is known by its link alone.
  if (!init_) return childless || (facts_.started && !link_);
  return facts_.end || facts_.exec_failure || facts_.ordered || facts_.engine || childless || gave_engine_up_;
}

// Absolute, CLOCK_MONOTONIC; a time that has passed fires at once; the maximum never does.
void Supervisor::set_timer(std::chrono::nanoseconds at) {
  constexpr long kNanos = 1'000'000'000;
  itimerspec when{};
  if (at != std::chrono::nanoseconds::max()) {
    when.it_value.tv_sec = at.count() / kNanos;
    when.it_value.tv_nsec = at.count() % kNanos;
    if (at.count() <= 0) when.it_value.tv_nsec = 1;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Supervisor::leave_last_look(const Outcome& outcome) const {
  switch (outcome.kind) {
    case OutcomeKind::kSignaled:
    case OutcomeKind::kTimedOut:
    case OutcomeKind::kOutOfMemory:
    case OutcomeKind::kKilled:
      break;
    default:
      return;  // nobody asks why
  }
  try {
    write_last_look(run_, sampler_.last_look());
  } catch (const Error&) {
    // A full disk: the post-mortem does without.
  }
}

int supervise(const os::RunDirectory& run) {
  block_all_signals();  // a cancel that comes right after the claim must find a shim that obeys, not kill it
  Supervisor supervisor(run);
  if (!supervisor.claim()) return 0;
  reserve_end_record(run);
  const Outcome outcome = supervisor.run_to_end();
  supervisor.leave_last_look(outcome);
  const bool recorded = record_end(run, Ended{.time = utc_now(),
                                              .outcome = outcome,
                                              .gave_way = supervisor.gave_way(),
                                              .log_bytes_over_limit = supervisor.log_bytes_over_limit()});
  os::remove_run_cgroups(supervisor.spec().cgroups);
  return recorded ? 0 : 1;
}

}  // namespace runner::shim
