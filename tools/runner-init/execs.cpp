#include "tools/runner-init/execs.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace runner::init {
namespace {

using shim::InitEvent;
namespace protocol = runner::shim;

constexpr int kMostStops = 100;  // of a child before its exec, one a look: then somebody means it

struct Running {
  std::uint32_t id;
  pid_t pid;
  int starting;  // the end of the pipe for its errno; -1 once its program runs
  int stops;
};
Running execs[protocol::kMostExecs];
std::size_t exec_count = 0;
char* words[protocol::kMostExecWords + 1];

// The argument vector behind the header of `message`; false if it is none.
bool read_words(std::size_t size) {
  std::size_t count = 0;
  for (std::size_t at = protocol::kExecHeader; at < size; ++count) {
    if (count == protocol::kMostExecWords) return false;
    words[count] = message + at;
    const void* end = ::memchr(message + at, 0, size - at);
    if (end == nullptr) return false;
    at = static_cast<std::size_t>(static_cast<const char*>(end) - message) + 1;
  }
  words[count] = nullptr;
  return count > 0;
}

void forget(Running& exec) {
  if (exec.starting >= 0) ::close(exec.starting);
  exec = execs[--exec_count];
}

void refuse(Running& exec, int error) {
  report(InitEvent::kExecRefused, error, exec.id);
  forget(exec);
}

enum class Start { kAwaited, kDone, kRefused };

// A pipe that ends without an errno belongs to a program that runs, or to a child that was killed before it could.
Start settle(Running& exec) {
  if (exec.starting < 0) return Start::kDone;
  int error = 0;
  const ssize_t got = ::read(exec.starting, &error, sizeof error);
  if (got < 0) return Start::kAwaited;
  if (got == static_cast<ssize_t>(sizeof error)) {
    refuse(exec, error);
    return Start::kRefused;
  }
  ::close(exec.starting);
  exec.starting = -1;
  report(InitEvent::kExecStarted, 0, exec.id);
  return Start::kDone;
}

// False if it was given up.
bool nudge(Running& exec) {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(exec.pid), &info, WSTOPPED | WNOHANG) != 0 || info.si_pid == 0) return true;
  if (++exec.stops > kMostStops) {
    ::kill(exec.pid, SIGKILL);
    refuse(exec, ECANCELED);
    return false;
  }
  ::kill(exec.pid, SIGCONT);
  return true;
}

int fork_exec(std::uint32_t id, std::size_t size, const int (&descriptors)[3]) {
  if (exec_count == protocol::kMostExecs) return EAGAIN;
  if (!read_words(size) || descriptors[2] < 0) return EINVAL;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  const pid_t child = ::fork();  // no vfork: a child that is stopped before its exec would hold us
  if (child == 0) {
    begin_child();
    for (int standard = 0; standard < 3; ++standard) ::dup2(descriptors[standard], standard);
    ::execvp(words[0], words);
    const int error = errno;
    [[maybe_unused]] const ssize_t told = ::write(ends[1], &error, sizeof error);
    ::_exit(kNotStarted);
  }
  const int error = errno;
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return error;
  }
  execs[exec_count++] = {id, child, ends[0], 0};
  return 0;
}

}  // namespace

void begin_child() {
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void start_exec(std::uint32_t id, std::size_t size, const int (&descriptors)[3]) {
  if (const int error = fork_exec(id, size, descriptors)) report(InitEvent::kExecRefused, error, id);
}

void kill_exec(std::uint32_t id) {
  for (std::size_t i = 0; i < exec_count; ++i) {
    if (execs[i].id != id) continue;
    ::kill(-execs[i].pid, SIGKILL);
    ::kill(execs[i].pid, SIGKILL);  // it may not have come to its session yet
  }
}

void exec_ended(pid_t pid, int status) {
  for (std::size_t i = 0; i < exec_count; ++i) {
    if (execs[i].pid != pid) continue;
    if (settle(execs[i]) == Start::kRefused) return;
    report(InitEvent::kExecEnded, status, execs[i].id);
    return forget(execs[i]);
  }
}

std::size_t starting_execs(pollfd* watched) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < exec_count; ++i)
    if (execs[i].starting >= 0) watched[count++] = {execs[i].starting, POLLIN, 0};
  return count;
}

void look_at_starting_execs() {
  for (std::size_t i = 0; i < exec_count;) {
    const Start start = settle(execs[i]);
    if (start == Start::kDone || (start == Start::kAwaited && nudge(execs[i]))) ++i;
  }
}

}  // namespace runner::init
