// What is done to a run while it lives, in real containers with each OCI runtime: pause, resume, exec; and the secrets
// it is started with. container_test.cpp repeats all of it as an ordinary user.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <fstream>
#include <functional>
#include <iterator>

#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/unix_socket.hpp"
#include "runner/shim/exec_protocol.hpp"
#include "runner/shim/init_protocol.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec::test {
namespace {

using Catch::Matchers::Contains;
using shim::ExecEvent;
using shim::ExecRecord;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience{20};  // a busy machine; reached only by a test that fails

void wait_until(const std::string& what, const std::function<bool()>& happened) {
  const auto deadline = os::monotonic_now() + kPatience;
  while (!happened()) {
    if (os::monotonic_now() > deadline) throw std::runtime_error("in vain: " + what);
    ::poll(nullptr, 0, 2);
  }
}

// start.json is written a moment after the script began: only then is there anything to pause.
shim::Started wait_for_start(const SandboxRun& run) {
  wait_until("the start of the script", [&] { return shim::read_started(run.directory).has_value(); });
  return *shim::read_started(run.directory);
}

// As the daemon does: the request, the signal, the answer in start.json.
shim::Started order(const SandboxRun& run, const os::Child& child, bool paused) {
  const auto number = shim::read_started(run.directory)->pause_requests + 1;
  shim::write_pause(run.directory, {.paused = paused, .number = number});
  ::kill(child.pid, SIGUSR2);
  wait_until("an answer", [&] { return shim::read_started(run.directory)->pause_requests == number; });
  return *shim::read_started(run.directory);
}

std::uintmax_t log_size(const SandboxRun& run) { return std::filesystem::file_size(run.directory.log()); }

char state_of(int pid) {
  const std::string stat = os::read_file_if_exists("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const auto name = stat.rfind(") ");
  return name == std::string::npos ? 'X' : stat[name + 2];
}

// Init's environment is hidden from everybody but root.
std::vector<int> without_init(const SandboxRun& run) {
  std::vector<int> processes = processes_of(run);
  std::erase(processes, shim::read_started(run.directory)->init.pid);
  return processes;
}

// SIGSTOP is sent by init, a moment after the answer. A shell whose child was stopped between vfork and exec waits for
// it in the kernel (D).
void wait_for_stop(const SandboxRun& run) {
  wait_until("every process to stop", [&] {
    const auto processes = without_init(run);
    return std::all_of(processes.begin(), processes.end(), [](int pid) {
      const char state = state_of(pid);
      return state == 'T' || state == 'D' || state == 'X';
    });
  });
}

// What was printed before is copied; then nothing more comes.
bool log_stands_still(const SandboxRun& run) {
  std::uintmax_t size = 0;
  wait_until("what was in the FIFO", [&] {
    const auto before = std::exchange(size, log_size(run));
    ::poll(nullptr, 0, 100);
    return before == size && size == log_size(run);
  });
  ::poll(nullptr, 0, 300);  // thirty lines of a script that goes on
  return log_size(run) == size;
}

os::Child start_without_freezer(ContainerFixture& fixture, const SandboxRun& run) {
  os::make_directories(run.directory.root());
  fixture.sandbox().prepare(run);
  shim::Spec spec = shim::read_spec(run.directory);
  if (const auto freezer = spec.cgroups.directories.extract("freezer"))
    spec.cgroups.foreign.push_back(freezer.mapped());  // removed all the same
  shim::write_spec(run.directory, spec);
  return fixture.sandbox().launch(run.directory);
}

struct Command {
  os::Fd connection;
  os::Fd output;
  os::Fd error;

  // Its next word; nothing when the connection has ended.
  std::optional<ExecRecord> next() const {
    pollfd ready{connection.get(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, static_cast<int>(milliseconds(kPatience).count())) == 1);
    ExecRecord record;
    if (::recv(connection.get(), &record, sizeof record, 0) != sizeof record) return std::nullopt;
    return record;
  }
};

std::string read_to_end(const os::Fd& pipe) {
  std::string text;
  std::array<char, 4096> bytes;
  for (ssize_t got = 0; (got = ::read(pipe.get(), bytes.data(), bytes.size())) > 0;)
    text.append(bytes.data(), static_cast<std::size_t>(got));
  return text;
}

Command exec_in(const SandboxRun& run, const std::vector<std::string>& words, const std::string& input = "") {
  std::string packed;
  for (const std::string& word : words) packed.append(word).append(1, '\0');
  std::array<int, 2> output{}, error{};
  REQUIRE(::pipe2(output.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(error.data(), O_CLOEXEC) == 0);
  const os::Fd given = os::sealed_memory("input", input);
  const os::Fd theirs_output(output[1]), theirs_error(error[1]);
  Command command{os::connect_to(run.directory.control()), os::Fd(output[0]), os::Fd(error[0])};
  const std::array<int, 3> descriptors{given.get(), theirs_output.get(), theirs_error.get()};
  REQUIRE(os::send_message(command.connection.get(), packed, descriptors));
  return command;
}

// What a script of kWaiting waits for.
void let_go(const SandboxRun& run) {
  const Command touch = exec_in(run, {"touch", "go"});
  // Nothing, where the script saw the file and ended before the command's start or its end was told.
  if (const auto first = touch.next()) {
    REQUIRE(first->event == ExecEvent::kStarted);
    touch.next();
  }
}

std::string packed_secrets(const std::map<std::string, std::string>& secrets) {
  std::string packed;
  for (const auto& [name, value] : secrets)
    packed.append(name).append(1, '\0').append(std::to_string(value.size())).append(1, '\0').append(value);
  return packed;
}

os::Child start_with(ContainerFixture& fixture, const SandboxRun& run, const std::string& secrets) {
  os::make_directories(run.directory.root());
  fixture.sandbox().prepare(run);
  return fixture.sandbox().launch(run.directory, os::sealed_memory("secrets", secrets).get());
}

// Files below `root` that hold `text`.
std::vector<std::string> files_with(const std::filesystem::path& root, const std::string& text) {
  std::vector<std::string> found;
  using Option = std::filesystem::directory_options;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root, Option::skip_permission_denied))
    if (entry.is_regular_file() && !entry.is_symlink()) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string content((std::istreambuf_iterator<char>(file)), {});
      if (content.find(text) != std::string::npos) found.push_back(entry.path());
    }
  return found;
}

const std::string kTicking = "echo up; while :; do echo tick; sleep 0.01; done";
const std::string kWaiting = "echo up; while ! [ -e go ]; do sleep 0.01; done; exit 4";

}  // namespace

TEST_CASE("a paused run stands still and goes on where it was", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const bool freezer = GENERATE(true, false);
  const SandboxRun run = fixture.shell(kTicking);
  const os::Child child = freezer ? fixture.start(run) : start_without_freezer(fixture, run);
  fixture.wait_for_log(run, "tick\n");
  CHECK_FALSE(wait_for_start(run).paused);
  for (int round = 0; round < 2; ++round) {
    const auto paused = order(run, child, true);
    CHECK(paused.paused);
    CHECK(paused.pause_error.empty());
    if (!freezer) wait_for_stop(run);
    CHECK(log_stands_still(run));
    const auto size = log_size(run);
    CHECK_FALSE(order(run, child, false).paused);
    wait_until("another line", [&] { return log_size(run) > size; });
  }
  ::kill(child.pid, SIGTERM);
  CHECK(fixture.wait(run, child).outcome.kind == OutcomeKind::kCanceled);
}

TEST_CASE("what a run has already is answered all the same, an old request is not", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(kTicking);
  const os::Child child = fixture.start(run);
  wait_for_start(run);
  CHECK_FALSE(order(run, child, false).paused);  // it was not paused
  CHECK(order(run, child, true).paused);
  CHECK(order(run, child, true).pause_requests == 3);
  shim::write_pause(run.directory, {.paused = false, .number = 2});  // by a daemon of before
  ::kill(child.pid, SIGUSR2);
  CHECK(order(run, child, true).paused);  // answered after that one
  ::kill(child.pid, SIGTERM);
  CHECK(fixture.wait(run, child).outcome.kind == OutcomeKind::kCanceled);
}

TEST_CASE("time in which a run is paused does not count against its limit", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const bool freezer = GENERATE(true, false);
  SandboxRun run = fixture.shell(kTicking);
  run.limits.max_run_duration = milliseconds(3000);
  const os::Child child = freezer ? fixture.start(run) : start_without_freezer(fixture, run);
  const auto deadline = wait_for_start(run).deadline;
  REQUIRE(deadline);
  CHECK_FALSE(order(run, child, true).deadline);
  while (os::monotonic_now() < *deadline + milliseconds(200)) ::poll(nullptr, 0, 10);
  CHECK_FALSE(shim::read_ended(run.directory));
  const auto resumed = order(run, child, false);
  REQUIRE(resumed.deadline);
  CHECK(*resumed.deadline > *deadline);
  CHECK(*resumed.deadline < os::monotonic_now() + milliseconds(3000));
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.kind == OutcomeKind::kTimedOut);
  CHECK_THAT(finished.outcome.message, Contains("maximum duration of 3.0s"));
  CHECK(os::monotonic_now() >= *resumed.deadline);
}

TEST_CASE("a paused run can be cancelled, and may still clean up", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const bool freezer = GENERATE(true, false);
  SandboxRun run = fixture.shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
  run.limits.grace = kPatience;
  const os::Child child = freezer ? fixture.start(run) : start_without_freezer(fixture, run);
  fixture.wait_for_log(run, "up\n");
  wait_for_start(run);
  order(run, child, true);
  shim::write_cancel(run.directory, {.reason = "enough", .as_failure = false});
  ::kill(child.pid, SIGUSR1);
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.kind == OutcomeKind::kCanceled);
  CHECK(finished.outcome.exit_code == 3);
  CHECK(finished.log.starts_with("up\n"));
  CHECK(finished.log.ends_with("bye\n"));
  CHECK(processes_of(run).empty());
}

TEST_CASE("a command runs beside the script, in its container, with its own input, output and end", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(kWaiting);
  const os::Child child = fixture.start(run);
  wait_for_start(run);
  const Command command =
      exec_in(run,
              {"sh", "-c",
               "cat; cat given.txt; echo $RUNNER_TEST_MARKER; grep CapEff /proc/self/status | tr -d "
               "'\\t'; echo error >&2; exit $1",
               "sh", "3"},
              "from outside\n");
  REQUIRE(command.next().value().event == ExecEvent::kStarted);
  const auto ended = command.next();
  REQUIRE(ended);
  CHECK(ended->event == ExecEvent::kEnded);
  CHECK(WIFEXITED(ended->value));
  CHECK(WEXITSTATUS(ended->value) == 3);
  CHECK(read_to_end(command.output) == "from outside\nas submitted\n" + run.id + "\nCapEff:0000000000000000\n");
  CHECK(read_to_end(command.error) == "error\n");
  CHECK_FALSE(command.next());
  const Command killed = exec_in(run, {"sh", "-c", "kill -KILL $$"});
  CHECK(killed.next().value().event == ExecEvent::kStarted);
  CHECK(WTERMSIG(killed.next().value().value) == SIGKILL);
  let_go(run);
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.exit_code == 4);
  CHECK(finished.log == "up\n");  // nothing of a command's is in it
}

TEST_CASE("a command that cannot be started is refused with the reason, and the run goes on", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(kWaiting);
  const os::Child child = fixture.start(run);
  wait_for_start(run);
  const auto refusal = [&](const std::vector<std::string>& words) {
    const Command command = exec_in(run, words);
    const ExecRecord record = command.next().value();
    CHECK(record.event == ExecEvent::kRefused);
    CHECK_FALSE(command.next());
    return record.value;
  };
  CHECK(refusal({"/no/such/program"}) == ENOENT);
  CHECK(refusal({"no-such-program"}) == ENOENT);
  CHECK(refusal({"./given.txt"}) == EACCES);
  CHECK(refusal(std::vector<std::string>(shim::kMostExecWords + 1, "x")) == EINVAL);
  order(run, child, true);
  CHECK(refusal({"ls"}) == EBUSY);  // nothing starts in a paused run
  order(run, child, false);
  let_go(run);
  CHECK(fixture.wait(run, child).outcome.exit_code == 4);
}

TEST_CASE("a command dies with all it started when whoever asked for it goes away", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo up; exec sleep 1000");
  const os::Child child = fixture.start(run);
  fixture.wait_for_log(run, "up\n");
  wait_for_start(run);
  wait_until("the script's exec", [&] { return without_init(run).size() == 1; });
  Command command = exec_in(run, {"sh", "-c", "trap '' TERM HUP; echo there; sleep 1000 & wait"});
  REQUIRE(command.next().value().event == ExecEvent::kStarted);
  wait_until("both of them", [&] { return without_init(run).size() == 3; });
  command.connection.reset();
  wait_until("their end", [&] { return without_init(run).size() == 1; });
  CHECK(read_to_end(command.output) == "there\n");
  CHECK_FALSE(shim::read_ended(run.directory));
  ::kill(child.pid, SIGTERM);
  CHECK(fixture.wait(run, child).outcome.kind == OutcomeKind::kCanceled);
}

TEST_CASE("a command does not hold up the end of its run, and ends with it", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(kWaiting);
  const os::Child child = fixture.start(run);
  wait_for_start(run);
  const Command command = exec_in(run, {"sleep", "1000"});
  REQUIRE(command.next().value().event == ExecEvent::kStarted);
  let_go(run);
  CHECK(fixture.wait(run, child).outcome.exit_code == 4);
  CHECK_FALSE(command.next());
  CHECK(read_to_end(command.output).empty());
  CHECK(processes_of(run).empty());
}

TEST_CASE("secrets are files in memory that only the script can read, and lie nowhere else", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const std::string secret = "correct horse battery";
  const std::string large(50'000, 'z');
  SandboxRun run = fixture.shell(
      "cd /run/secrets; stat -f -c %T .; stat -c '%a %s %n' *; md5sum < TOKEN; wc -c < LARGE; (echo x > TOKEN) "
      "2>/dev/null || echo denied; env | grep -c horse; cd - > /dev/null; " +
      kWaiting);
  run.limits.secrets = {"EMPTY", "LARGE", "TOKEN"};
  const os::Child child =
      start_with(fixture, run, packed_secrets({{"EMPTY", ""}, {"LARGE", large}, {"TOKEN", secret}}));
  fixture.wait_for_log(run, "up\n");
  wait_for_start(run);
  CHECK(files_with(fixture.place(""), secret).empty());
  const std::string shim = "/proc/" + std::to_string(child.pid);
  CHECK(os::read_file(shim + "/environ").find(secret) == std::string::npos);
  CHECK(os::read_file(shim + "/cmdline").find(secret) == std::string::npos);
  for (const auto& entry : std::filesystem::directory_iterator(shim + "/fd")) {
    std::error_code gone;
    CHECK_THAT(std::filesystem::read_symlink(entry.path(), gone).string(), !Contains("secrets"));
  }
  let_go(run);
  const Finished finished = fixture.wait(run, child);
  INFO(finished.outcome.message);
  CHECK(finished.outcome.exit_code == 4);
  CHECK(
      finished.log ==
      "tmpfs\n400 0 EMPTY\n400 50000 LARGE\n400 21 TOKEN\n88e4ddd2402d92d50e1879d6ecd9ffd4  -\n50000\ndenied\n0\nup\n");
  CHECK(files_with(fixture.place(""), secret).empty());
}

TEST_CASE("the run's token is a variable of everything in the run, and is written down nowhere", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const std::string token = "run.1.correct-horse-battery";
  SandboxRun run = fixture.shell("echo \"$RUNNER_TOKEN\" | md5sum; ls /run/secrets /run/runner-api; " + kWaiting);
  run.api = fixture.place("api");
  os::make_directories(run.api);
  run.variables[shim::kTokenVariable] = "";
  const std::string mark(1, shim::kVariableMark);
  SECTION("with secrets") {
    run.limits.secrets = {"KEY"};
    const os::Child child =
        start_with(fixture, run, packed_secrets({{mark + shim::kTokenVariable, token}, {"KEY", "value"}}));
    fixture.wait_for_log(run, "up\n");
    wait_for_start(run);
    CHECK(files_with(fixture.place(""), token).empty());
    const Command command = exec_in(run, {"sh", "-c", "echo $RUNNER_TOKEN"});
    CHECK(read_to_end(command.output) == token + "\n");
    let_go(run);
    const Finished finished = fixture.wait(run, child);
    CHECK(finished.log == "7e0baa645218c55d92cdd34ca4b0c27e  -\n/run/runner-api:\n\n/run/secrets:\nKEY\nup\n");
  }
  SECTION("a variable that the configuration lacks is no place for it") {
    run.variables.erase(shim::kTokenVariable);
    const Finished finished =
        fixture.wait(run, start_with(fixture, run, packed_secrets({{mark + shim::kTokenVariable, token}})));
    CHECK(finished.outcome.kind == OutcomeKind::kStartFailed);
    CHECK_THAT(finished.outcome.message, Contains("could not write the secrets in the container"));
  }
}

TEST_CASE("a run without secrets has no place for them, one whose secrets got lost does not start", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  CHECK(fixture.finish(fixture.shell("ls -d /run/secrets 2>/dev/null || echo none")).log == "none\n");
  SandboxRun run = fixture.shell("echo never");
  run.limits.secrets = {"TOKEN"};
  SECTION("nothing was handed over") {
    const Finished finished = fixture.finish(run);
    CHECK(finished.outcome.kind == OutcomeKind::kStartFailed);
    CHECK(finished.outcome.message == "the run's secrets were not handed over");
    CHECK(finished.log.empty());
  }
  SECTION("what was handed over is cut short") {
    const std::string whole = packed_secrets({{"TOKEN", "value"}});
    const Finished finished = fixture.wait(run, start_with(fixture, run, whole.substr(0, whole.size() - 2)));
    CHECK(finished.outcome.kind == OutcomeKind::kStartFailed);
    CHECK_THAT(finished.outcome.message, Contains("could not write the secrets in the container"));
    CHECK(finished.log.empty());
  }
}

}  // namespace runner::exec::test
