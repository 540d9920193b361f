#include "runner/os/process_tree.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "runner/os/process.hpp"

namespace runner::os {
namespace {

// A child that does as it is told, says so with one byte, and then waits to be killed.
class Child_ {
 public:
  template <class Do>
  explicit Child_(Do&& act) {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      act();
      const char byte = 1;
      [[maybe_unused]] const ssize_t wrote = ::write(pipe[1], &byte, 1);
      for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(pipe[0], &byte, 1) == 1);
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  ~Child_() {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child_(const Child_&) = delete;
  Child_& operator=(const Child_&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

void fork_idle(int count) {
  for (int i = 0; i < count; ++i)
    if (::fork() == 0)
      for (;;) ::pause();
}

}  // namespace

TEST_CASE("a process is read with its parent, group, start and memory, whatever it calls itself") {
  const Child_ child([] {
    ::setsid();
    ::prctl(PR_SET_NAME, ") S 1 (x) 9");
  });
  const auto facts = read_process(child.pid());
  REQUIRE(facts);
  CHECK(facts->name == ") S 1 (x) 9");
  CHECK(facts->parent == ::getpid());
  CHECK(facts->group == child.pid());
  CHECK(facts->start_ticks == identify(child.pid())->start_ticks);
  CHECK(facts->threads == 1);
  CHECK(facts->memory_bytes > 0);
  CHECK_FALSE(read_process(0x3ffffff));
}

TEST_CASE("a tree is its root and all below it, those that a thread has forked included") {
  const Child_ child([] {
    ::setpgid(0, 0);
    fork_idle(2);
    std::thread([] {
      fork_idle(1);
      for (;;) ::pause();
    }).detach();
    ::usleep(100'000);  // until the thread has done so
  });
  const ProcessTree tree = read_process_tree(child.pid(), 1000);
  CHECK(tree.complete);
  REQUIRE(tree.processes.size() == 4);
  CHECK(tree.processes[0].pid == child.pid());
  CHECK(std::all_of(tree.processes.begin() + 1, tree.processes.end(),
                    [&](const auto& process) { return process.parent == child.pid(); }));
}

TEST_CASE("a tree of many costs no more files than were granted") {
  const Child_ child([] {
    ::setpgid(0, 0);
    fork_idle(50);
  });
  const ProcessTree tree = read_process_tree(child.pid(), 20);
  CHECK_FALSE(tree.complete);
  CHECK(tree.processes.size() < 25);
  CHECK(tree.processes.size() > 5);
  CHECK(read_process_tree(0x3ffffff, 10).processes.empty());
}

TEST_CASE("the signals that a process catches and ignores, and what it has read and written") {
  const Child_ child([] {
    ::signal(SIGABRT, [](int) {});
    ::signal(SIGTERM, SIG_IGN);
  });
  const auto status = read_process_status(child.pid());
  REQUIRE(status);
  CHECK(status->inner_pid == child.pid());
  CHECK((status->caught >> (SIGABRT - 1) & 1) == 1);
  CHECK((status->caught >> (SIGTERM - 1) & 1) == 0);
  CHECK((status->ignored >> (SIGTERM - 1) & 1) == 1);
  CHECK((status->ignored >> (SIGABRT - 1) & 1) == 0);
  CHECK(read_process_io(::getpid()));
  CHECK_FALSE(read_process_status(0x3ffffff));
  CHECK_FALSE(read_process_io(0x3ffffff));
}

}  // namespace runner::os
