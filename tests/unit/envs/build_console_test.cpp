#include "envs/build_console.hpp"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

using namespace runner;
using namespace runner::envs;

namespace {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-console-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Bench {
  Scratch directory;
  std::vector<std::string> told;
  std::function<bool()> stopped;
  std::chrono::nanoseconds limit = std::chrono::seconds(60);
  std::vector<std::string> secrets;
  std::function<std::uint64_t()> free_space;
  std::int64_t most_logged = 1 << 20;

  BuildConsole console() {
    return BuildConsole({.log = directory.path() / "build.log",
                         .most_logged = most_logged,
                         .scratch = directory.path(),
                         .guard = std::filesystem::path(RUNNER_BIN_DIR) / "runner-guard",
                         .secrets = secrets,
                         .stopped = stopped,
                         .progress = [this](const std::string& line) { told.push_back(line); },
                         .deadline = os::monotonic_now() + limit,
                         .free_space = free_space});
  }
  std::string log() const { return os::read_file_if_exists(directory.path() / "build.log").value_or(""); }
};

Tool shell(const std::string& script) {
  return {.name = "tool",
          .arguments = {"/bin/sh", "-c", script},
          .variables = {{"PATH", "/usr/bin:/bin"}},
          .directory = {}};
}

bool alive(const std::filesystem::path& pid_file) {
  std::ifstream stream(pid_file);
  pid_t pid = 0;
  stream >> pid;
  REQUIRE(pid > 1);
  return ::kill(pid, 0) == 0;
}

}  // namespace

TEST_CASE("what a tool says is in the log, in order, and its status is returned") {
  Bench bench;
  auto console = bench.console();
  console.step("installing");
  std::vector<std::string> lines;
  CHECK(console.run(shell("echo one; echo two >&2; printf 'three\\rfour'; exit 3"),
                    [&](std::string_view line) { lines.emplace_back(line); }) == 3);
  CHECK(bench.log() == "==> installing\none\ntwo\nthree\nfour\n");
  CHECK(lines == std::vector<std::string>{"one", "two", "three", "four"});
  CHECK(bench.told == std::vector<std::string>{"installing"});
}

TEST_CASE("a secret is shown nowhere") {
  Bench bench;
  bench.secrets = {"s3cret"};
  auto console = bench.console();
  console.step("asking https://u:s3cret@host/");
  std::string seen;
  CHECK(console.run(shell("echo ERROR: 401 for https://u:s3cret@host/; exit 1"),
                    [&](std::string_view line) { seen = line; }) == 1);
  const Error error = console.failure("tool", 1);
  for (const std::string& text : {bench.log(), error.message(), seen, bench.told.front()}) {
    CHECK(text.find("s3cret") == std::string::npos);
    CHECK(text.find("u:****@host") != std::string::npos);
  }
}

TEST_CASE("a failure begins with the most telling of the last lines and has the others") {
  Bench bench;
  auto console = bench.console();
  CHECK(console.run(
            shell("echo Looking; echo 'ERROR: No matching distribution for x'; echo '[notice] new pip'; exit 1")) == 1);
  const Error error = console.failure("pip", 1);
  CHECK(error.message() == "pip: ERROR: No matching distribution for x\nLooking\n[notice] new pip");
  CHECK(error.code() == ErrorCode::kInvalid);
}

TEST_CASE("a full disk is told as such") {
  Bench bench;
  auto console = bench.console();
  CHECK(console.run(shell("echo 'OSError: [Errno 28] No space left on device'; exit 1")) == 1);
  CHECK(console.failure("pip", 1).code() == ErrorCode::kNoSpace);
}

TEST_CASE("a full disk that the tool does not mention is told as such") {
  Bench bench;
  std::uint64_t free = 1000;
  bench.free_space = [&] { return free; };
  auto console = bench.console();
  CHECK(console.run(shell("echo 'Error: Command ensurepip returned non-zero exit status 1.'; exit 1")) == 1);
  const Error full = console.failure("python -m venv", 1);
  CHECK(full.code() == ErrorCode::kNoSpace);
  CHECK(full.message().starts_with("python -m venv: no space left on the device of " + bench.directory.path().string() +
                                   ": Error: Command ensurepip"));
  free = std::uint64_t{1} << 30;
  CHECK(console.failure("python -m venv", 1).code() == ErrorCode::kInvalid);
  bench.free_space = {};
  auto asking = bench.console();
  CHECK(asking.run(shell("exit 1")) == 1);
  CHECK(asking.failure("tool", 1).code() == ErrorCode::kInvalid);
}

TEST_CASE("a headline that names nothing takes the names from the lines below it") {
  Bench bench;
  auto console = bench.console();
  const auto said = [&](const std::string& words) {
    console.run(shell("cat <<'END'\n" + words + "\nEND\nexit 1"));
    return console.failure("tool", 1).message();
  };
  CHECK(said("Resolving\nerror: No solution found when resolving dependencies\n  cause: Because a was not found, it "
             "fails.\n\nhint: none") ==
        "tool: error: No solution found when resolving dependencies: Because a was not found, it "
        "fails.\nResolving\nhint: none");
  CHECK(said("  × No solution found when resolving dependencies:\n  ╰─▶ Because a<2 and\n      b, it fails.") ==
        "tool: × No solution found when resolving dependencies: Because a<2 and b, it fails.");
  CHECK(said("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE. If you have updated.\n    a==1 from x:\n"
             "        Expected 0") ==
        "tool: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE: a==1 from x:\n        Expected 0");
}

TEST_CASE("a tool that is not wanted any more ends with all that it has started") {
  Bench bench;
  const auto pid = bench.directory.path() / "pid";
  bench.stopped = [&] { return std::filesystem::exists(pid) && std::filesystem::file_size(pid) > 0; };
  auto console = bench.console();
  CHECK_THROWS_WITH(console.run(shell("setsid sh -c 'echo $$ > pid; exec sleep 1000' & sleep 1000")),
                    "the build was stopped");
  CHECK_FALSE(alive(pid));
}

TEST_CASE("what a tool leaves running ends with it") {
  Bench bench;
  auto console = bench.console();
  CHECK(console.run(shell("setsid sleep 1000 & echo $! > pid; exit 0")) == 0);
  CHECK_FALSE(alive(bench.directory.path() / "pid"));
}

TEST_CASE("a build has a limit") {
  Bench bench;
  bench.limit = std::chrono::milliseconds(200);
  auto console = bench.console();
  console.step("waiting");
  CHECK_THROWS_WITH(console.run(shell("sleep 1000")),
                    Catch::StartsWith("the environment's build took longer than its limit of ") &&
                        Catch::EndsWith("ms, the last step: waiting"));
}

TEST_CASE("an answer is captured, and what is said beside it is logged") {
  Bench bench;
  auto console = bench.console();
  std::string out;
  CHECK(console.capture(shell("echo answer; echo words >&2"), out) == 0);
  CHECK(out == "answer\n");
  CHECK(bench.log() == "words\n");
}

TEST_CASE("control characters reach neither the log nor a message") {
  Bench bench;
  auto console = bench.console();
  console.step("step 1:\x1b[31m RUN \x07\x08\x7f\xc2\x9b\tx\x1b]0;title\x07y\nz\x1b");
  console.write("a\x1b]8;;http://x\x1b\\\xc2\x85\rb\xc3\xa9\xc2\xa0\n");
  CHECK(bench.log() == "==> step 1: RUN \txyz\nab\xc3\xa9\xc2\xa0\n");
  CHECK(bench.told == std::vector<std::string>{"step 1: RUN \txyz"});
}

TEST_CASE("a log has an end, steps and last words are told all the same") {
  Bench bench;
  auto console = bench.console();
  console.step("first");
  for (int i = 0; i < 40'000; ++i) console.write(std::to_string(i) + ": what a command says line by line\n");
  console.step("second");
  console.write("ERROR: why\n");
  const std::string log = bench.log();
  CHECK(console.is_cut());
  CHECK(log.size() < (1 << 20) + 200);
  CHECK(log.find("0: what") != std::string::npos);
  CHECK(log.find("39999: what") == std::string::npos);
  CHECK(log.ends_with("longer than 1 MiB: what commands say from here on is left out]\n==> second\n"));
  CHECK(console.failure("tool", 1).message() == "tool: ERROR: why");
}
