// runner-init LOG ARGUMENT...: pid 1 of every container. Static, no exceptions, no allocation.
//
// Points stdout and stderr at the FIFO LOG, starts ARGUMENT... in a session of its own, reaps everything, forwards
// signals to the script's process group and ends when the script does; the kernel then kills what is left of the pid
// namespace. Reports to the shim on descriptor 3 (runner/shim/init_protocol.hpp); when that closes, the shim is dead
// and everything here is killed. Exit status: the script's, 128+N for a signal, 127 if it could not be started, 125 for
// a lost shim.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/shim/init_protocol.hpp"

namespace {

using runner::shim::InitEvent;
using runner::shim::InitRecord;
using runner::shim::InitStep;
using runner::shim::kGo;
using runner::shim::kInitSocket;

constexpr int kLostShim = 125;
constexpr int kNotStarted = 127;

void report(const InitRecord& record) {
  // A shim that is gone shows as end of file in the loop; nothing is to be done about it here.
  ssize_t sent;
  do {
    sent = ::send(kInitSocket, &record, sizeof record, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
}

void report(InitEvent event) {
  InitRecord record;
  record.event = event;
  report(record);
}

[[noreturn]] void give_up(InitStep step, int error) {
  InitRecord record;
  record.event = InitEvent::kExecFailed;
  record.value = error;
  record.detail = step;
  report(record);
  ::_exit(kNotStarted);
}

[[noreturn]] void end_with_shim() {
  ::kill(-1, SIGKILL);  // everything in the namespace but us; our own exit would do the same
  ::_exit(kLostShim);
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

void wait_for_go() {
  report(InitEvent::kReady);
  char word = 0;
  ssize_t got;
  do {
    got = ::recv(kInitSocket, &word, 1, 0);
  } while (got < 0 && errno == EINTR);
  if (got != 1 || word != kGo) end_with_shim();
}

pid_t start_script(char* const arguments[]) {
  // vfork: the child borrows this memory until its exec, so it can leave its errno here, and nothing is copied.
  volatile int exec_error = 0;
  const pid_t child = ::vfork();
  if (child == 0) {
    ::setsid();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvp(arguments[0], arguments);
    exec_error = errno;
    ::_exit(kNotStarted);
  }
  if (child < 0) give_up(InitStep::kExec, errno);
  if (exec_error != 0) {
    // A file that is there and yet "does not exist" is a script whose first line names a missing interpreter.
    const bool there = exec_error == ENOENT && ::access(arguments[0], F_OK) == 0;
    give_up(there ? InitStep::kInterpreter : InitStep::kExec, exec_error);
  }
  return child;
}

std::int64_t micros(const timeval& time) { return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; }

[[noreturn]] void end_with_script(int status) {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  InitRecord record;
  record.event = InitEvent::kEnded;
  record.value = status;
  record.user_micros = micros(usage.ru_utime);
  record.system_micros = micros(usage.ru_stime);
  record.peak_kib = usage.ru_maxrss;
  report(record);
  ::_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

void reap_all(pid_t script) {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == script) end_with_script(status);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
  }
}

}  // namespace

int main(int argc, char* argv[]) {
  if (argc < 3) return kNotStarted;
  // The script runs under the same uid: without this it could open our memory and descriptors through /proc/1.
  ::prctl(PR_SET_DUMPABLE, 0);
  ::fcntl(kInitSocket, F_SETFD, FD_CLOEXEC);
  // Blocked signals stay pending even for pid 1, which otherwise never sees one that has no handler.
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int signals = ::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  open_standard_descriptors(argv[1]);
  wait_for_go();
  const pid_t script = start_script(argv + 2);
  report(InitEvent::kStarted);

  pollfd watched[2] = {{signals, POLLIN, 0}, {kInitSocket, POLLIN, 0}};
  for (;;) {
    if (::poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents != 0) end_with_shim();  // the shim says nothing after kGo: readable means closed
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      const int number = static_cast<int>(info.ssi_signo);
      if (number == SIGCHLD)
        reap_all(script);
      else
        ::kill(-script, number);
    }
  }
}
