#include "runner/os/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::os {
namespace {

using std::filesystem::path;

// Directories that look like cgroup file systems; limits written there can be read back.
struct FakeMachine {
  path root;
  FakeMachine() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-cgroup-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  ~FakeMachine() { remove_tree(root); }

  path file(const path& name, const std::string& content) const {
    make_directories((root / name).parent_path(), 0755);
    std::ofstream(root / name) << content;
    return root / name;
  }
  std::string mount(const std::string& at, const std::string& type, const std::string& options,
                    const std::string& inner = "/") const {
    make_directories(root / at, 0755);
    return "30 20 0:25 " + inner + " " + (root / at).string() + " rw,relatime - " + type + " " + type + " rw," +
           options + "\n";
  }
};

std::string content(const path& file) { return read_file_if_exists(file).value_or("(missing)"); }

}  // namespace

TEST_CASE("on a v1 machine runs are made below the caller's cgroup of each controller") {
  const FakeMachine machine;
  make_directories(machine.root / "memory/job/7");
  const auto base = find_cgroup_base(
      machine.mount("memory", "cgroup", "memory") + machine.mount("cpu,cpuacct", "cgroup", "cpu,cpuacct") +
          machine.mount("systemd", "cgroup", "xattr,name=systemd") + machine.mount("unified", "cgroup2", "nsdelegate"),
      "5:memory:/job/7\n4:cpu,cpuacct:/\n2:name=systemd:/\n0::/\n");
  CHECK(base.version == 1);
  CHECK(base.directories.at("memory") == machine.root / "memory/job/7");
  CHECK(base.directories.at("cpu") == machine.root / "cpu,cpuacct");
  CHECK(base.directories.at("cpuacct") == machine.root / "cpu,cpuacct");
  CHECK(base.reasons.at("pids") == "the kernel offers no pids cgroup here");
  CHECK(base.hierarchies.size() == 4);

  const RunCgroups planned = plan_run_cgroups(base, "runner-x");
  CHECK(planned.directories.at("memory") == machine.root / "memory/job/7/runner-x");
  CHECK(planned.foreign == std::vector<path>{machine.root / "systemd/runner-x", machine.root / "unified/runner-x"});
}

TEST_CASE("a machine without cgroups says so for every controller") {
  const auto base = find_cgroup_base("22 1 254:0 / / rw - ext4 /dev/vda rw\n", "0::/\n");
  CHECK(base.version == 0);
  CHECK(base.directories.empty());
  CHECK(base.reasons.at("memory") == "no cgroup file system is mounted here");
  CHECK(warm_file(base).empty());
}

TEST_CASE("a cgroup outside of what is mounted here is not guessed") {
  const FakeMachine machine;
  const auto base =
      find_cgroup_base(machine.mount("memory", "cgroup", "memory", "/docker/abc"), "5:memory:/elsewhere\n");
  CHECK_FALSE(base.directories.contains("memory"));
  CHECK(base.reasons.contains("memory"));
}

TEST_CASE("on v2 only controllers that are handed down can limit") {
  const FakeMachine machine;
  const std::string mounts = machine.mount("v2", "cgroup2", "nsdelegate");
  machine.file("v2/user/app/cgroup.subtree_control", "memory pids\n");
  make_directories(machine.root / "v2/user/app/runner-daemon");
  // The daemon lives in its leaf; runs become its siblings.
  const auto base = find_cgroup_base(mounts, "0::/user/app/runner-daemon\n");
  CHECK(base.version == 2);
  CHECK(base.directories.at("memory") == machine.root / "v2/user/app");
  CHECK(base.directories.at("") == machine.root / "v2/user/app");
  CHECK(base.reasons.at("cpu") ==
        "the cpu controller is not handed down to " + (machine.root / "v2/user/app").string());
}

TEST_CASE("v2 limits are written as the kernel reads them") {
  const FakeMachine machine;
  const path run = machine.root / "run";
  for (const char* name : {"memory.max", "memory.swap.max", "pids.max", "cpu.max"})
    machine.file(path("run") / name, "");
  const RunCgroups cgroups{.version = 2, .directories = {{"memory", run}, {"pids", run}, {"cpu", run}}, .foreign = {}};
  make_run_cgroups(cgroups, {.memory_bytes = 1 << 20, .pids = 10, .cpus = 1.5});
  CHECK(content(run / "memory.max") == "1048576");
  CHECK(content(run / "memory.swap.max") == "0");
  CHECK(content(run / "pids.max") == "11");  // and runner-init
  CHECK(content(run / "cpu.max") == "150000 100000");
}

TEST_CASE("v1 limits count swap and write the quota") {
  const FakeMachine machine;
  const path memory = machine.root / "m", cpu = machine.root / "c";
  for (const char* name :
       {"m/memory.limit_in_bytes", "m/memory.memsw.limit_in_bytes", "c/cpu.cfs_period_us", "c/cpu.cfs_quota_us"})
    machine.file(name, "");
  const RunCgroups cgroups{.version = 1, .directories = {{"memory", memory}, {"cpu", cpu}}, .foreign = {}};
  make_run_cgroups(cgroups, {.memory_bytes = 4096, .pids = {}, .cpus = 0.25});
  CHECK(content(memory / "memory.limit_in_bytes") == "4096");
  CHECK(content(memory / "memory.memsw.limit_in_bytes") == "4096");
  CHECK(content(cpu / "cpu.cfs_quota_us") == "25000");
}

TEST_CASE("a limit without its controller is an error that names the option") {
  const RunCgroups none{.version = 1, .directories = {}, .foreign = {}};
  try {
    make_run_cgroups(none, {.memory_bytes = 1, .pids = {}, .cpus = {}});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK(error.message() == "--memory: there is no memory cgroup for this run");
  }
}

TEST_CASE("usage is read from the files of either version") {
  const FakeMachine machine;
  SECTION("v1") {
    machine.file("m/memory.max_usage_in_bytes", "5000\n");
    machine.file("m/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    machine.file("a/cpuacct.usage", "1500000000\n");
    const auto usage = read_usage({.version = 1,
                                   .directories = {{"memory", machine.root / "m"}, {"cpuacct", machine.root / "a"}},
                                   .foreign = {}});
    CHECK(usage.peak_memory_bytes == 5000);
    CHECK(usage.oom_kills == 2);
    CHECK(usage.cpu_seconds == 1.5);
  }
  SECTION("v2") {
    machine.file("r/memory.peak", "7000\n");
    machine.file("r/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n");
    machine.file("r/cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
    const auto usage = read_usage({.version = 2,
                                   .directories = {{"memory", machine.root / "r"}, {"cpuacct", machine.root / "r"}},
                                   .foreign = {}});
    CHECK(usage.peak_memory_bytes == 7000);
    CHECK(usage.oom_kills == 1);
    CHECK(usage.cpu_seconds == 2.5);
  }
  SECTION("none") {
    const auto usage = read_usage({.version = 2, .directories = {{"memory", machine.root / "none"}}, .foreign = {}});
    CHECK_FALSE(usage.peak_memory_bytes);
    CHECK(usage.oom_kills == 0);
  }
}

TEST_CASE("delegation moves the daemon into a leaf and hands the controllers down") {
  const FakeMachine machine;
  const std::string mounts = machine.mount("v2", "cgroup2", "nsdelegate");
  machine.file("v2/unit/cgroup.procs", std::to_string(::getpid()) + "\n");
  machine.file("v2/unit/cgroup.controllers", "cpu memory pids io\n");
  machine.file("v2/unit/cgroup.subtree_control", "");
  machine.file("v2/unit/runner-daemon/cgroup.procs", "");
  CHECK_FALSE(delegate_to_runs(mounts, "0::/unit\n"));
  CHECK(content(machine.root / "v2/unit/runner-daemon/cgroup.procs") == std::to_string(::getpid()));
  CHECK(content(machine.root / "v2/unit/cgroup.subtree_control") == "+memory +pids +cpu");
}

TEST_CASE("a cgroup shared with other processes is left alone") {
  const FakeMachine machine;
  const std::string mounts = machine.mount("v2", "cgroup2", "nsdelegate");
  machine.file("v2/scope/cgroup.procs", "1\n" + std::to_string(::getpid()) + "\n");
  CHECK(delegate_to_runs(mounts, "0::/scope\n") ==
        "other processes share the cgroup " + (machine.root / "v2/scope").string());
}

TEST_CASE("removing cgroups that never were is done") {
  CHECK(remove_run_cgroups(
      {.version = 1, .directories = {{"memory", "/no/such/cgroup"}}, .foreign = {"/no/such/other"}}));
}

TEST_CASE("this machine's own cgroups can be made, joined by a child and removed, where they are ours") {
  const auto base = find_cgroup_base();
  if (!base.directories.contains("memory")) {
    WARN("skipped: " << base.reasons.at("memory"));
    return;
  }
  const RunCgroups cgroups = plan_run_cgroups(base, "runner-unit-test-" + std::to_string(::getpid()));
  make_run_cgroups(cgroups, {.memory_bytes = 64 << 20, .pids = 5, .cpus = {}});
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  join_run_cgroups(cgroups, child);
  CHECK(content(cgroups.directories.at("memory") / "cgroup.procs") == std::to_string(child) + "\n");
  CHECK_FALSE(::rmdir(cgroups.directories.at("memory").c_str()) == 0);
  ::signal(SIGCHLD, SIG_IGN);  // nobody waits for the child that the removal kills
  CHECK(remove_run_cgroups(cgroups));
  ::signal(SIGCHLD, SIG_DFL);
  CHECK_FALSE(std::filesystem::exists(cgroups.directories.at("memory")));
}

TEST_CASE("the cgroups of another process are found for its figures, on either version") {
  const path root = "/sys/fs/cgroup";
  SECTION("v1") {
    const auto cgroups = cgroups_of(
        "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
        "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n");
    CHECK(cgroups.version == 1);
    CHECK(cgroups.directories == std::map<std::string, path>{{"memory", root / "memory/docker/abc"},
                                                             {"cpu", root / "cpu,cpuacct/docker/abc"},
                                                             {"cpuacct", root / "cpu,cpuacct/docker/abc"}});
    CHECK(cgroups.foreign.empty());  // nothing of somebody else's is ever removed
  }
  SECTION("v2") {
    const auto cgroups = cgroups_of("30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
                                    "0::/system.slice/docker-abc.scope\n");
    CHECK(cgroups.version == 2);
    CHECK(cgroups.directories.at("memory") == root / "system.slice/docker-abc.scope");
    CHECK(cgroups.directories.at("cpuacct") == root / "system.slice/docker-abc.scope");
  }
  SECTION("none, or not visible from here") {
    CHECK(cgroups_of("22 1 254:0 / / rw - ext4 /dev/vda rw\n", "0::/\n").version == 0);
    CHECK(cgroups_of("30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../other\n").directories.empty());
  }
}

TEST_CASE("what a run uses at this moment is read from its cgroups, on either version") {
  const FakeMachine machine;
  const path directory = machine.root / "run";
  SECTION("v1") {
    machine.file("run/memory.usage_in_bytes", "4096\n");
    machine.file("run/cpuacct.usage", "1500000000\n");
    machine.file("run/pids.current", "7\n");
    machine.file("run/blkio.throttle.io_service_bytes",
                 "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\n8:16 Write 2\nTotal 33\n");
    const RunCgroups cgroups{
        .version = 1,
        .directories = {{"memory", directory}, {"cpuacct", directory}, {"pids", directory}, {"blkio", directory}},
        .foreign = {}};
    const CgroupNow now = read_now(cgroups);
    CHECK(now.memory_bytes == 4096);
    CHECK(now.cpu_seconds == 1.5);
    CHECK(now.tasks == 7);
    CHECK(now.read_bytes == 11);
    CHECK(now.written_bytes == 22);
  }
  SECTION("v2") {
    machine.file("run/memory.current", "4096\n");
    machine.file("run/cpu.stat", "usage_usec 250000\nuser_usec 1\n");
    machine.file("run/io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n");
    const RunCgroups cgroups{
        .version = 2, .directories = {{"memory", directory}, {"cpuacct", directory}}, .foreign = {}};
    const CgroupNow now = read_now(cgroups);
    CHECK(now.memory_bytes == 4096);
    CHECK(now.cpu_seconds == 0.25);
    CHECK_FALSE(now.tasks);
    CHECK(now.read_bytes == 11);
    CHECK(now.written_bytes == 22);
    machine.file("run/io.stat", "");
    CHECK(read_now(cgroups).written_bytes == 0);  // nothing yet
  }
  SECTION("none") {
    const CgroupNow now = read_now({});
    CHECK_FALSE((now.memory_bytes || now.cpu_seconds || now.tasks || now.read_bytes || now.written_bytes));
  }
}

TEST_CASE("on a hybrid machine v1's controllers come first, whatever the order of mounts") {
  const std::string v1 = "32 31 0:29 / /cg/memory rw - cgroup cgroup rw,memory\n";
  const std::string v2 = "33 31 0:30 / /cg/unified rw - cgroup2 cgroup2 rw\n";
  const std::string own = "5:memory:/docker/abc\n0::/docker/abc\n";
  for (const std::string& mounts : {v1 + v2, v2 + v1}) {
    const auto cgroups = cgroups_of(mounts, own);
    CHECK(cgroups.version == 1);
    CHECK(cgroups.directories == std::map<std::string, path>{{"memory", "/cg/memory/docker/abc"}});
  }
  // A v1 tree without controllers, systemd's, is none.
  const auto unified = cgroups_of("31 30 0:28 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n" + v2,
                                  "1:name=systemd:/docker/abc\n0::/docker/abc\n");
  CHECK(unified.version == 2);
  CHECK(unified.directories.at("memory") == "/cg/unified/docker/abc");
}

TEST_CASE("freezing waits for the kernel's word, and thawing undoes it") {
  const FakeMachine machine;
  SECTION("v1") {
    machine.file("f/freezer.state", "THAWED\n");
    const RunCgroups cgroups{.version = 1, .directories = {{"freezer", machine.root / "f"}}, .foreign = {}};
    CHECK(freeze(cgroups));
    CHECK(content(machine.root / "f/freezer.state") == "FROZEN\n");
    thaw(cgroups);
    CHECK(content(machine.root / "f/freezer.state") == "THAWED\n");
  }
  SECTION("v2") {
    machine.file("r/cgroup.freeze", "0\n");
    machine.file("r/cgroup.events", "populated 1\nfrozen 1\n");
    const RunCgroups cgroups{.version = 2, .directories = {{"freezer", machine.root / "r"}}, .foreign = {}};
    CHECK(freeze(cgroups));
    CHECK(content(machine.root / "r/cgroup.freeze") == "1\n");
    thaw(cgroups);
    CHECK(content(machine.root / "r/cgroup.freeze") == "0\n");
  }
  SECTION("one that does not freeze is let go on") {
    machine.file("r/cgroup.freeze", "0\n");
    machine.file("r/cgroup.events", "populated 1\nfrozen 0\n");
    const RunCgroups cgroups{.version = 2, .directories = {{"freezer", machine.root / "r"}}, .foreign = {}};
    CHECK_FALSE(freeze(cgroups));
    CHECK(content(machine.root / "r/cgroup.freeze") == "0\n");
  }
  SECTION("no freezer") {
    CHECK_FALSE(freeze({.version = 1, .directories = {}, .foreign = {}}));
    const RunCgroups gone{.version = 2, .directories = {{"freezer", machine.root / "gone"}}, .foreign = {}};
    CHECK_FALSE(freeze(gone));
    thaw(gone);
  }
}

TEST_CASE("a process that is frozen stands still until it is thawed, where there is a freezer of ours") {
  const auto base = find_cgroup_base();
  if (!base.directories.contains("freezer")) {
    WARN("skipped: " << base.reasons.at("freezer"));
    return;
  }
  const RunCgroups all = plan_run_cgroups(base, "runner-unit-freeze-" + std::to_string(::getpid()));
  const RunCgroups cgroups{
      .version = all.version, .directories = {{"freezer", all.directories.at("freezer")}}, .foreign = {}};
  make_run_cgroups(cgroups, {.memory_bytes = {}, .pids = {}, .cpus = {}});
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  const Fd reading(pipe[0]);
  Fd writing(pipe[1]);
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) {
      [[maybe_unused]] const ssize_t wrote = ::write(writing.get(), "x", 1);
      ::poll(nullptr, 0, 1);
    }
  writing.reset();
  join_run_cgroups(cgroups, child);
  const auto ticks = [&](int millis) {  // how many bytes come, after those that are there
    std::array<char, 65536> bytes;
    while (::read(reading.get(), bytes.data(), bytes.size()) > 0) {
    }
    pollfd ready{reading.get(), POLLIN, 0};
    return ::poll(&ready, 1, millis);
  };
  CHECK(ticks(20'000) == 1);
  CHECK(freeze(cgroups));
  CHECK(ticks(100) == 0);
  thaw(cgroups);
  CHECK(ticks(20'000) == 1);
  CHECK(freeze(cgroups));
  ::signal(SIGCHLD, SIG_IGN);          // nobody waits for the child that the removal kills
  CHECK(remove_run_cgroups(cgroups));  // also a frozen one
  ::signal(SIGCHLD, SIG_DFL);
}

}  // namespace runner::os
