// runner-guard COMMAND...: runs a command to its end and ends with it everything it has started, also what has left its
// session. The same when descriptor 3 closes (the daemon is dead, or nobody wants the work any more) or SIGTERM comes.
// Exit status: the command's, 128+N for a signal, 127 if it could not be started. Static, no exceptions.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int kLifeline = 3;
constexpr int kNotStarted = 127;

pid_t command = -1;
int command_status = -1;  // of wait(2), once the command has ended

// Every child that has ended; false when there is none left.
bool reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == 0) return true;
    if (pid < 0) return errno == EINTR;
    if (pid == command) command_status = status;
  }
}

// Children of ours: as the subreaper we inherit those of every process that dies.
void kill_children() {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/self/task/%d/children", static_cast<int>(::getpid()));
  FILE* list = ::fopen(path, "re");
  if (list == nullptr) {
    ::kill(command, SIGKILL);
    return;
  }
  int pid = 0;
  while (::fscanf(list, "%d", &pid) == 1) ::kill(pid, SIGKILL);
  ::fclose(list);
}

void end_everything() {
  constexpr int kMostRounds = 5000;  // of a millisecond: what cannot be killed is not waited for
  for (int round = 0; round < kMostRounds; ++round) {
    kill_children();
    if (!reap()) return;
    ::poll(nullptr, 0, 1);
  }
}

[[noreturn]] void become(char** arguments, const sigset_t& signals) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the guard itself be killed
  ::close(kLifeline);
  ::setsid();
  ::sigprocmask(SIG_SETMASK, &signals, nullptr);
  ::execv(arguments[0], arguments);
  ::fprintf(stderr, "%s: %s\n", arguments[0], ::strerror(errno));
  ::_exit(kNotStarted);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    ::fputs("usage: runner-guard COMMAND...   (descriptor 3: the lifeline)\n", stderr);
    return 2;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::fcntl(kLifeline, F_SETFD, FD_CLOEXEC);
  sigset_t watched;
  sigset_t before;
  ::sigemptyset(&watched);
  constexpr int kWatched[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
  for (const int signal : kWatched) ::sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, &before);
  const int signals = ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  command = ::fork();
  if (command < 0 || signals < 0) {
    ::perror("runner-guard");
    return kNotStarted;
  }
  if (command == 0) become(argv + 1, before);

  bool wanted = true;
  while (wanted && command_status < 0) {
    pollfd polled[2] = {{signals, POLLIN, 0}, {kLifeline, POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0 && errno != EINTR) break;
    signalfd_siginfo info{};
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      if (info.ssi_signo != SIGCHLD) wanted = false;
    if (polled[1].revents != 0) wanted = false;  // nothing is ever written: it has closed
    reap();
  }
  end_everything();
  if (command_status < 0) return 128 + SIGKILL;
  return WIFSIGNALED(command_status) ? 128 + WTERMSIG(command_status) : WEXITSTATUS(command_status);
}
