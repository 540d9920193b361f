#include <catch2/catch.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/core/error.hpp"
#include "runner/os/process.hpp"

namespace os = runner::os;
using runner::Error;

namespace {

bool ends_within(const os::Fd& pidfd, int milliseconds) {
  pollfd waiting{pidfd.get(), POLLIN, 0};
  return ::poll(&waiting, 1, milliseconds) == 1;
}

int reap(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("a process is who it was only with its start time and boot") {
  const auto self = os::identify_self();
  CHECK(self.pid == ::getpid());
  CHECK(os::open_process(self));
  auto older = self;
  older.start_ticks -= 1;
  CHECK_FALSE(os::open_process(older));
  auto other_boot = self;
  other_boot.boot_id = "another";
  CHECK_FALSE(os::open_process(other_boot));
}

TEST_CASE("a child that ended and was reaped is nobody") {
  const auto child = os::spawn({.arguments = {"/bin/sh", "-c", "exit 0"}});
  const auto identity = os::identify(child.pid);
  REQUIRE(identity);
  REQUIRE(ends_within(child.pidfd, 10'000));
  reap(child.pid);
  CHECK_FALSE(os::open_process(*identity));
  CHECK_FALSE(os::signal_process(child.pidfd, SIGTERM));
}

TEST_CASE("a child gets the environment, directory and descriptors it is given and nothing else") {
  ::setenv("RUNNER_UNIT_SECRET", "leak", 1);
  const auto result = os::capture(
      {.arguments = {"/bin/sh", "-c", "echo $A-$RUNNER_UNIT_SECRET-$PWD; cat; ls /proc/self/fd | wc -l; exit 3"},
       .environment = {"A=b c", "PATH=/usr/bin:/bin"},
       .directory = "/usr"},
      std::chrono::seconds{10});
  CHECK(result.exit_code == 3);
  CHECK(result.out == "b c--/usr\n4\n");  // 0, 1, 2 and ls's own
}

TEST_CASE("both streams are captured, a signal is 128 plus its number") {
  const auto result =
      os::capture({.arguments = {"/bin/sh", "-c", "echo out; echo err >&2; kill -9 $$"}}, std::chrono::seconds{10});
  CHECK(result.out == "out\n");
  CHECK(result.err == "err\n");
  CHECK(result.exit_code == 137);
}

TEST_CASE("a helper that hangs or floods is killed with its whole group") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(os::capture({.arguments = {"/bin/sh", "-c", "sleep 60 & sleep 60"}}, std::chrono::milliseconds{100}),
                  Error);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{20});
  CHECK_THROWS_AS(os::capture({.arguments = {"/bin/sh", "-c", "yes"}}, std::chrono::seconds{30}, 100'000), Error);
}

TEST_CASE("a program that is not there is named") {
  try {
    os::spawn({.arguments = {"/no/such/program"}});
    FAIL("started");
  } catch (const Error& error) {
    CHECK(error.message().find("/no/such/program") != std::string::npos);
  }
}

TEST_CASE("programs are looked for in absolute directories only") {
  CHECK(os::find_program("sh", "/nonexistent:/bin") == std::filesystem::path("/bin/sh"));
  CHECK_FALSE(os::find_program("sh", "bin:.:"));
  CHECK_FALSE(os::find_program("no-such-program", "/bin:/usr/bin"));
}
