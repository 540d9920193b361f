// Runs in real containers, with each OCI runtime that is installed; the last test repeats all of it as an ordinary
// user.
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>

#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/exec/bundle.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec::test {
namespace {

using Catch::Matchers::Contains;

// The run's processes leave within the deadline (the kernel needs a moment to take a namespace down).
bool all_gone(const SandboxRun& run) {
  const auto deadline = os::monotonic_now() + std::chrono::seconds(20);
  while (!processes_of(run).empty()) {
    if (os::monotonic_now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

bool cgroups_exist(const SandboxRun& run) {
  const auto cgroups = os::plan_run_cgroups(os::find_cgroup_base(), cgroup_name(run.id));
  for (const auto& [controller, directory] : cgroups.directories)
    if (std::filesystem::exists(directory)) return true;
  for (const auto& directory : cgroups.foreign)
    if (std::filesystem::exists(directory)) return true;
  return false;
}

std::int64_t anonymous_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8));
  return -1;
}

}  // namespace

TEST_CASE("a run ends with its script's exit code, its log in order and nothing left behind", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo one; echo two >&2; echo three > /dev/stdout; echo four; cat; exit 7");
  const Finished finished = fixture.finish(run);
  INFO(finished.outcome.message);
  CHECK(finished.outcome.kind == OutcomeKind::kExited);
  CHECK(finished.outcome.exit_code == 7);
  CHECK(finished.log == "one\ntwo\nthree\nfour\n");
  CHECK(finished.outcome.usage.peak_memory_bytes.value_or(0) > 0);
  CHECK(finished.outcome.usage.cpu_seconds.value_or(0) > 0);
  REQUIRE(shim::read_started(run.directory));
  CHECK_FALSE(os::open_process(shim::read_started(run.directory)->init));
  CHECK_FALSE(cgroups_exist(run));
}

TEST_CASE("a script that dies of a signal says so", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const int number = GENERATE(SIGKILL, SIGSEGV, SIGTERM);
  const Finished finished = fixture.finish(fixture.shell("kill -" + std::to_string(number) + " $$; sleep 1000"));
  CHECK(finished.outcome.kind == OutcomeKind::kSignaled);
  CHECK(finished.outcome.signal == number);
  CHECK_FALSE(finished.outcome.exit_code);
}

TEST_CASE("a script that cannot be started ends as start_failed with one clear line", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("");
  SECTION("it does not exist") {
    run.arguments = {"/no/such/program"};
    CHECK(fixture.finish(run).outcome.message == "could not start /no/such/program: No such file or directory");
  }
  SECTION("it is not executable") {
    run.arguments = {"./given.txt"};
    CHECK(fixture.finish(run).outcome.message == "could not start ./given.txt: Permission denied");
  }
  SECTION("its interpreter is missing") {
    const auto script = fixture.checkout() / "script";
    std::ofstream(script) << "#!/no/such/interpreter\n";
    ::chmod(script.c_str(), 0755);
    run.arguments = {"./script"};
    CHECK_THAT(fixture.finish(run).outcome.message,
               Contains("./script") && Contains("interpreter that does not exist"));
  }
  SECTION("the runtime fails") {
    os::make_directories(run.directory.root());
    fixture.sandbox().prepare(run);
    os::remove_tree(fixture.checkout());
    CHECK_THAT(fixture.wait(run, fixture.sandbox().launch(run.directory)).outcome.message, Contains("overlay"));
  }
  CHECK(shim::read_ended(run.directory)->outcome.kind == OutcomeKind::kStartFailed);
  CHECK_FALSE(shim::read_started(run.directory));
  CHECK_FALSE(cgroups_exist(run));
}

TEST_CASE("at its time limit a run ends, whatever it ignores and whatever it started", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell(
      "trap '' TERM; for i in 1 2 3; do setsid sh -c \"trap '' TERM; while :; do sleep 1000; done\" & done; echo up; "
      "while :; do sleep 1000; done");
  run.limits.max_run_duration = std::chrono::milliseconds(400);
  run.limits.grace = std::chrono::milliseconds(200);
  const Finished finished = fixture.finish(run);
  CHECK(finished.outcome.kind == OutcomeKind::kTimedOut);
  CHECK(finished.outcome.message == "exceeded its maximum duration of 400ms; killed after a grace of 200ms");
  CHECK(finished.log == "up\n");
  CHECK(processes_of(run).empty());
  CHECK_FALSE(cgroups_exist(run));
}

TEST_CASE("at its time limit a script may clean up within the grace", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
  run.limits.max_run_duration = std::chrono::milliseconds(300);
  run.limits.grace = std::chrono::seconds(30);
  const Finished finished = fixture.finish(run);
  CHECK(finished.outcome.kind == OutcomeKind::kTimedOut);
  CHECK(finished.outcome.exit_code == 3);
  CHECK_THAT(finished.outcome.message, Contains("ended by SIGTERM"));
  CHECK(finished.log.starts_with("up\n"));
  CHECK(finished.log.ends_with("bye\n"));
}

TEST_CASE("a cancelled run ends with the reason it was given", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo up; while :; do sleep 0.01; done");
  const bool as_failure = GENERATE(false, true);
  const os::Child child = fixture.start(run);
  fixture.wait_for_log(run, "up\n");
  shim::write_cancel(run.directory, {.reason = "cancelled by user dev", .as_failure = as_failure});
  ::kill(child.pid, SIGUSR1);
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.kind == (as_failure ? OutcomeKind::kKilled : OutcomeKind::kCanceled));
  CHECK_THAT(finished.outcome.message, Contains("cancelled by user dev"));
  CHECK(processes_of(run).empty());
}

TEST_CASE("a run cancelled before its start never starts", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo never");
  os::make_directories(run.directory.root());
  shim::write_cancel(run.directory, {.reason = "changed my mind", .as_failure = false});
  const Finished finished = fixture.finish(run);
  CHECK(finished.outcome.kind == OutcomeKind::kCanceled);
  CHECK(finished.log.empty());
  CHECK_FALSE(shim::read_started(run.directory));
}

TEST_CASE("when the supervisor is killed its container dies with it", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(
      "trap '' TERM; setsid sh -c 'while :; do sleep 1000; done' & echo up; while :; do sleep 1000; done");
  const os::Child child = fixture.start(run);
  fixture.wait_for_log(run, "up\n");
  CHECK(processes_of(run).size() >= 2);
  ::kill(child.pid, SIGKILL);
  ::waitpid(child.pid, nullptr, 0);
  CHECK(all_gone(run));
  CHECK_FALSE(shim::read_ended(run.directory));
  fixture.sandbox().remove_remains(run.id);
  CHECK_FALSE(cgroups_exist(run));
  fixture.sandbox().remove_remains(run.id);  // again: nothing to do
}

TEST_CASE("a supervisor killed at any moment of the start leaves nothing alive", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  for (int delay = 0; delay < 24; ++delay) {
    const SandboxRun run = fixture.shell("while :; do sleep 1000; done");
    const os::Child child = fixture.start(run);
    ::poll(nullptr, 0, delay);
    ::kill(child.pid, SIGKILL);
    ::waitpid(child.pid, nullptr, 0);
    INFO("killed after " << delay << " ms");
    // The runtime may still be at work; what it starts finds its socket closed.
    const auto deadline = os::monotonic_now() + std::chrono::milliseconds(150);
    while (os::monotonic_now() < deadline) ::poll(nullptr, 0, 10);
    CHECK(all_gone(run));
    fixture.sandbox().remove_remains(run.id);
    CHECK_FALSE(cgroups_exist(run));
  }
}

TEST_CASE("a grandchild that holds stdout open does not hold up the end", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("setsid sh -c 'while :; do sleep 1000; done' & echo done");
  const Finished finished = fixture.finish(run);
  CHECK(finished.outcome.exit_code == 0);
  CHECK(finished.log == "done\n");
  CHECK(processes_of(run).empty());
}

TEST_CASE("a large log is complete", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const Finished finished = fixture.finish(fixture.shell("seq 1 400000"));
  CHECK(finished.outcome.exit_code == 0);
  CHECK(finished.log.size() == 2688895);  // bytes of `seq 1 400000`
  CHECK(finished.log.ends_with("\n399999\n400000\n"));
}

TEST_CASE("a second supervisor finds the claim and leaves the run alone", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo once");
  const os::Child first = fixture.start(run);
  const os::Child second = fixture.sandbox().launch(run.directory);
  int status = -1;
  ::waitpid(second.pid, &status, 0);
  CHECK(status == 0);
  CHECK(fixture.wait(run, first).log == "once\n");
}

TEST_CASE("a supervisor's own memory stays below 2 MB", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("seq 1 100000; echo up; sleep 1000");
  const os::Child child = fixture.start(run);
  fixture.wait_for_log(run, "up\n");
  const std::int64_t kib = anonymous_kib(child.pid);
  ::kill(child.pid, SIGTERM);
  CHECK(fixture.wait(run, child).outcome.kind == OutcomeKind::kCanceled);
  CHECK(kib > 0);
  CHECK(kib <= 2048);
}

TEST_CASE("the host's secrets, homes and the data directory are invisible", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  std::ofstream(fixture.place("private.txt")) << "secret";
  const std::string data = fixture.data().home().string();
  const Finished finished = fixture.finish(fixture.shell(
      "cat /etc/shadow 2>/dev/null | head -c 1; find /etc/ssh /boot /var/lib -mindepth 1 2>/dev/null; cat " +
      fixture.place("private.txt").string() + " 2>/dev/null; ls " + data +
      " 2>/dev/null; ls -A /home; ls -A $HOME; "
      "ls -A /sys/fs/cgroup; grep -c . /proc/self/cgroup >/dev/null; head -1 /etc/passwd | cut -d: -f1"));
  CHECK(finished.log == "tester\nproject\nroot\n");
}

TEST_CASE("a mount that covers the data directory does not show it", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("cat /mnt/all/shown.txt; ls -A /mnt/all/data");
  std::ofstream(fixture.place("shown.txt")) << "shown\n";
  run.mounts = {{.source = fixture.place("").string(), .target = "/mnt/all", .writable = false}};
  CHECK(fixture.finish(run).log == "shown\n");
}

TEST_CASE("what a run writes stays in its own layer, and the system is read-only", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell(
      "cat given.txt; echo more >> given.txt; mkdir outputs; echo result > outputs/a.txt; "
      "for d in / /usr /etc /sys /run /run/runner-init /home; do (: > $d/x) 2>/dev/null && echo \"wrote $d\"; done; "
      "for d in /tmp /dev/shm $HOME; do : > $d/x || echo \"no $d\"; done; stat -c %a /tmp");
  const Finished finished = fixture.finish(run);
  CHECK(finished.log == "as submitted\n1777\n");
  CHECK(os::read_file(fixture.checkout() / "given.txt") == "as submitted\n");
  CHECK_FALSE(std::filesystem::exists(fixture.checkout() / "outputs"));
  CHECK(os::read_file(run.directory.upper() / "given.txt") == "as submitted\nmore\n");
  CHECK(os::read_file(run.directory.upper() / "outputs/a.txt") == "result\n");
  struct ::stat info {};
  REQUIRE(::stat((run.directory.upper() / "outputs/a.txt").c_str(), &info) == 0);
  CHECK(info.st_uid == ::geteuid());
}

TEST_CASE("mounts, caches and interpreter paths appear where they belong", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  for (const char* name : {"ro", "rw", "prefix"}) {
    os::make_directories(fixture.place(name), 0755);
    std::ofstream(fixture.place(name) / "file") << name << "\n";
  }
  const std::string prefix = fixture.place("prefix").string();
  SandboxRun run = fixture.shell("cat /data/ro/file data/file " + prefix +
                                 "/file; echo new > data/new; (: > /data/ro/x) 2>/dev/null || echo refused; "
                                 "(: > " +
                                 prefix + "/x) 2>/dev/null || echo refused");
  run.mounts = {{.source = fixture.place("ro").string(), .target = "/data/ro", .writable = false},
                {.source = fixture.place("rw").string(), .target = run.working_directory + "/data", .writable = true}};
  run.read_only_paths = {prefix, prefix + "/below", "/usr/lib", "/no/such/path"};
  CHECK(fixture.finish(run).log == "ro\nrw\nprefix\nrefused\nrefused\n");
  CHECK(os::read_file(fixture.place("rw") / "new") == "new\n");
}

TEST_CASE("without a network there is only loopback", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell(
      "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /sys/class/net/lo/operstate > /dev/null; readlink "
      "/proc/self/ns/net");
  run.limits.network = false;
  const Finished finished = fixture.finish(run);
  CHECK(finished.log.starts_with("lo\nnet:["));
  CHECK(finished.log != "lo\n" + std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
  CHECK(fixture.finish(fixture.shell("readlink /proc/self/ns/net")).log ==
        std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
}

TEST_CASE("a script has no capabilities, no way to get any, and the caller's uid where the runtime can",
          "[container]") {
  const std::string runtime = GENERATE("crun", "runc");
  ContainerFixture fixture(runtime);
  if (!fixture.works()) return;
  const Finished finished =
      fixture.finish(fixture.shell("id -u; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d "
                                   "'\\t'; unshare -U true 2>/dev/null || echo denied; hostname"));
  const std::string uid = std::to_string(runtime == "crun" ? ::geteuid() : 0);
  CHECK(finished.log ==
        uid + "\nCapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\ndenied\nrunner\n");
}

TEST_CASE("a script finds its own account, also one that the host does not know", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("id -un > /dev/null && echo known");
  run.variables["USER"] = "somebody";
  CHECK(fixture.finish(run).log == "known\n");
}

TEST_CASE("a runtime that hangs is killed when its run is cancelled", "[container]") {
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  const SandboxRun run = fixture.shell("echo never");
  os::make_directories(run.directory.root());
  fixture.sandbox().prepare(run);
  shim::Spec spec = shim::read_spec(run.directory);
  spec.runtime_command = {"/bin/sh", "-c", "echo hanging >&2; trap '' TERM; (sleep 1000; :) & sleep 1000; :"};
  shim::write_spec(run.directory, spec);
  const os::Child child = fixture.sandbox().launch(run.directory);
  while (os::read_file_if_exists(run.directory.runtime_log()).value_or("").empty()) ::poll(nullptr, 0, 2);
  ::kill(child.pid, SIGTERM);
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.kind == OutcomeKind::kCanceled);
  CHECK_THAT(finished.outcome.message, Contains("signal to the supervisor") && Contains("had not started"));
}

TEST_CASE("a runtime that fails before its init is up is tried again, and not for ever", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  const int failures = GENERATE(1, 9);
  SandboxRun run = fixture.shell("echo ran; exit 3");
  os::make_directories(run.directory.root());
  fixture.sandbox().prepare(run);
  shim::Spec spec = shim::read_spec(run.directory);
  const std::string count = (run.directory.root() / "attempts").string();
  // Fails so often, then becomes the runtime that was meant.
  std::vector<std::string> command{"/bin/sh", "-c",
                                   "echo x >>\"$0\"; if [ $(wc -l <\"$0\") -le " + std::to_string(failures) +
                                       " ]; then echo lost my first process >&2; exit 1; fi; exec \"$@\"",
                                   count};
  command.insert(command.end(), spec.runtime_command.begin(), spec.runtime_command.end());
  spec.runtime_command = command;
  shim::write_spec(run.directory, spec);
  const Finished finished = fixture.wait(run, fixture.sandbox().launch(run.directory));
  if (failures == 1) {
    CHECK(finished.outcome.kind == OutcomeKind::kExited);
    CHECK(finished.outcome.exit_code == 3);
    CHECK(finished.log == "ran\n");
  } else {
    CHECK(finished.outcome.kind == OutcomeKind::kStartFailed);
    CHECK(finished.outcome.message == "lost my first process");
    CHECK(os::read_file(count) == "x\nx\nx\n");
  }
}

TEST_CASE("descriptors of the supervisor do not reach the script", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  CHECK(fixture.finish(fixture.shell("ls /proc/$$/fd | tr '\\n' ' '")).log.substr(0, 6) == "0 1 2 ");
  CHECK(fixture.finish(fixture.shell("ls -l /proc/$$/fd 2>/dev/null | grep -c socket; true")).log == "0\n");
}

TEST_CASE("memory over the limit ends a run as out_of_memory, and only its own main process counts", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("tail /dev/zero; echo survived");
  run.limits.memory_bytes = 64 << 20;
  if (const auto limits = fixture.sandbox().unenforceable(run.limits); !limits.empty()) {
    CHECK(::geteuid() != 0);
    CHECK(limits.front().option == "--memory");
    return;
  }
  const Finished child = fixture.finish(run);
  CHECK(child.outcome.kind == OutcomeKind::kExited);
  CHECK(child.outcome.exit_code == 0);
  CHECK(child.outcome.message == "a child process was killed for memory (limit 64.0 MiB, peak 64.0 MiB)");
  CHECK_THAT(child.log, Contains("survived"));

  SandboxRun main = fixture.shell("");
  main.arguments = {"tail", "/dev/zero"};
  main.limits = run.limits;
  const Finished killed = fixture.finish(main);
  CHECK(killed.outcome.kind == OutcomeKind::kOutOfMemory);
  CHECK(killed.outcome.message == "killed for memory (limit 64.0 MiB, peak 64.0 MiB)");
  CHECK_FALSE(cgroups_exist(main));
}

TEST_CASE("on a v2 machine the run is born in its cgroup", "[container]") {
  // Hybrid machines have a v2 tree without controllers beside v1: enough to see where processes are.
  const std::filesystem::path unified = "/sys/fs/cgroup/unified";
  ContainerFixture fixture("crun");
  if (!fixture.works()) return;
  if (::access((unified / "cgroup.procs").c_str(), W_OK) != 0) return;
  const SandboxRun run = fixture.shell("echo up; sleep 1000; :");
  os::CgroupBase base;
  base.version = 2;
  base.directories = {{"", unified}, {"freezer", unified}, {"cpuacct", unified}};
  os::make_directories(run.directory.root());
  write_bundle(run, *fixture.sandbox().runtime(),
               describe_host(fixture.data(), program_directory() / "runner-init", {}), base);
  const os::Child child = fixture.sandbox().launch(run.directory);
  fixture.wait_for_log(run, "up\n");
  std::string members;
  // The shell forks after it has said "up".
  for (int look = 0; look < 200 && std::count(members.begin(), members.end(), '\n') < 3; ++look, ::usleep(10'000))
    members = os::read_file(unified / cgroup_name(run.id) / "cgroup.procs");
  CHECK_THAT(members, Contains(std::to_string(shim::read_started(run.directory)->init.pid) + "\n"));
  CHECK(std::count(members.begin(), members.end(), '\n') >= 3);  // init, sh, sleep
  ::kill(child.pid, SIGTERM);
  const Finished finished = fixture.wait(run, child);
  CHECK(finished.outcome.kind == OutcomeKind::kCanceled);
  CHECK(finished.outcome.usage.cpu_seconds.value_or(0) > 0);
  CHECK_FALSE(std::filesystem::exists(unified / cgroup_name(run.id)));
}

TEST_CASE("limits of processes and processors hold", "[container]") {
  ContainerFixture fixture(GENERATE("crun", "runc"));
  if (!fixture.works()) return;
  SandboxRun run = fixture.shell("for i in 1 2 3 4 5 6; do sleep 1000 & done; echo unreachable");
  run.limits.pids = 4;
  run.limits.cpus = 0.5;
  if (const auto limits = fixture.sandbox().unenforceable(run.limits); !limits.empty()) {
    CHECK(::geteuid() != 0);
    CHECK(limits.front().option == "--pids");
    CHECK_THAT(limits.front().reason, Contains("cannot be enforced"));
    CHECK_FALSE(limits.front().hint.empty());
    return;
  }
  const Finished finished = fixture.finish(run);
  CHECK(finished.outcome.kind == OutcomeKind::kExited);
  CHECK_THAT(finished.log, Contains("fork"));
}

TEST_CASE("all of it as an ordinary user", "[as-user]") {
  if (::geteuid() != 0) return skip("only root can become another user");
  if (!std::filesystem::exists("/usr/bin/setpriv")) return skip("setpriv is missing (apt install util-linux)");
  constexpr uid_t kSomebody = 61234;  // nobody's number: an account is not needed
  const ScratchDirectory scratch;
  const auto copy = [&scratch](const std::filesystem::path& program) {
    std::filesystem::copy_file(program, scratch.path() / program.filename());
    return (scratch.path() / program.filename()).string();
  };
  const std::string self = copy(std::filesystem::read_symlink("/proc/self/exe"));
  copy(program_directory() / "runner-shim");
  copy(program_directory() / "runner-init");
  const auto temporary = scratch.path() / "tmp";
  os::make_directories(temporary);
  REQUIRE(::chown(temporary.c_str(), kSomebody, kSomebody) == 0);
  ::chmod(scratch.path().c_str(), 0755);
  const char* strict = std::getenv("RUNNER_STRICT");
  const std::string id = std::to_string(kSomebody);
  const auto result = os::capture(
      {.arguments = {"/usr/bin/setpriv", "--reuid", id, "--regid", id, "--clear-groups", self, "[container]"},
       .environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=" + temporary.string(),
                       "RUNNER_TEST_BIN_DIR=" + scratch.path().string(),
                       std::string("RUNNER_STRICT=") + (strict == nullptr ? "" : strict)},
       .directory = "/",
       .descriptors = {}},
      std::chrono::minutes(5));
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  if (!result.err.empty()) WARN(result.err);
}

}  // namespace runner::exec::test
