#include "runner/shim/last_look.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

#include "tests/unit/runner/shim/scratch_run.hpp"

namespace runner::shim {

TEST_CASE("the last look comes back from its file, whatever bytes a process calls itself by") {
  const ScratchRun scratch;
  CHECK_FALSE(read_last_look(scratch.run));
  LastLook look{.time = UtcTime{std::chrono::microseconds{5}},
                .before_signal = true,
                .process_count = 7,
                .complete = false,
                .processes = {},
                .samples = {}};
  look.processes.push_back({.pid = 2,
                            .parent = 1,
                            .state = 'R',
                            .memory_bytes = 4096,
                            .cpu_seconds = 1.5,
                            .command = "sh -c \x1b[31m \xff"});
  look.samples.push_back({.time = UtcTime{std::chrono::microseconds{4}},
                          .seconds = 1,
                          .cpu_seconds = 1,
                          .cpus = 1,
                          .memory_bytes = 3,
                          .processes = 1});
  write_last_look(scratch.run, look);
  const auto read = read_last_look(scratch.run);
  REQUIRE(read);
  CHECK(read->time == look.time);
  CHECK(read->before_signal);
  CHECK(read->process_count == 7);
  CHECK_FALSE(read->complete);
  REQUIRE(read->processes.size() == 1);
  CHECK(read->processes[0].state == 'R');
  CHECK(read->processes[0].command == "sh -c \x1b[31m \uFFFD");
  REQUIRE(read->samples.size() == 1);
  CHECK(read->samples[0].memory_bytes == 3);
}

TEST_CASE("a damaged last look is none") {
  const ScratchRun scratch;
  for (const char* text :
       {"", "{", "[]", "{\"version\": 2}", "{\"version\": 1}", "{\"version\": 1, \"timeMicros\": []}"}) {
    os::publish_file(scratch.run.last_look(), text, os::Durability::kAtomic);
    CHECK_FALSE(read_last_look(scratch.run));
  }
}

TEST_CASE("command lines are read by a child, a dead process has none, and no child stays") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sleep", "sleep", "60", nullptr);
    ::_exit(1);
  }
  constexpr pid_t kNobody = 0x3ffffff;
  const std::array<pid_t, 3> pids{::getpid(), kNobody, child};
  std::vector<std::string> lines;
  for (int i = 0; i < 500 && (lines.empty() || lines[2] != "sleep 60"); ++i)  // until its exec
    lines = read_command_lines(pids, std::chrono::seconds{10});
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].find("unit_runner_shim") != std::string::npos);
  CHECK(lines[1].empty());
  CHECK(lines[2] == "sleep 60");
  CHECK(read_command_lines({}, std::chrono::seconds{1}).empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

}  // namespace runner::shim
