// What is decided before anything runs: mounts, configuration, filter, checks.
#include "runner/exec/bundle.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/exec/checks.hpp"
#include "runner/exec/root_skeleton.hpp"
#include "runner/exec/run_directories.hpp"
#include "runner/exec/runtime_trial.hpp"
#include "runner/exec/seccomp.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec::test {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

struct Planned {
  ScratchDirectory scratch;
  os::DataDirectory data{scratch.path() / "data"};
  SandboxRun run;
  MountContext context;

  Planned()
      : run{.id = "r",
            .directory = data.run("r"),
            .layers = {scratch.path() / "layer"},
            .working_directory = "/home/me/project",
            .arguments = {"./train.py"},
            .variables = {{"K", "V"}},
            .read_only_paths = {},
            .cache_paths = {},
            .mounts = {},
            .home = "/home/me",
            .limits = {}} {
    context.data_home = data.home();
    context.init = "/usr/bin/true";
    context.shm_bytes = 1 << 20;
    os::make_directories(run.directory.root());
    os::make_directories(scratch.path() / "layer");
  }
  MountPlan plan() const { return plan_mounts(run, context); }
};

const PlannedMount* find(const MountPlan& plan, const std::string& target) {
  const auto at =
      std::find_if(plan.mounts.begin(), plan.mounts.end(), [&](const PlannedMount& m) { return m.target == target; });
  return at == plan.mounts.end() ? nullptr : &*at;
}

bool has(const std::vector<std::string>& options, const std::string& option) {
  return std::find(options.begin(), options.end(), option) != options.end();
}

bool in_skeleton(const MountPlan& plan, const std::string& path) {
  return std::any_of(plan.skeleton.begin(), plan.skeleton.end(), [&](const MountPoint& p) { return p.path == path; });
}

std::string refusal(const Planned& planned) {
  try {
    planned.plan();
    return "";
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    return error.message();
  }
}

}  // namespace

TEST_CASE("a mount comes after every mount above it") {
  Planned planned;
  planned.run.read_only_paths = {planned.scratch.path().string() + "/layer"};
  const MountPlan plan = planned.plan();
  for (std::size_t later = 0; later < plan.mounts.size(); ++later)
    for (std::size_t earlier = later + 1; earlier < plan.mounts.size(); ++earlier)
      CHECK_FALSE(plan.mounts[later].target.starts_with(plan.mounts[earlier].target + "/"));
  REQUIRE(find(plan, "/home/me/project"));
  CHECK(find(plan, "/home/me/project")->type == "overlay");
  CHECK(find(plan, "/home/me")->source == planned.run.directory.home().string());
}

TEST_CASE("system directories are read-only, all the way down") {
  const Planned planned;
  const MountPlan plan = planned.plan();
  for (const char* target : {"/usr", "/etc", "/sys"}) {
    REQUIRE(find(plan, target));
    CHECK(has(find(plan, target)->options, "rro"));
  }
  CHECK(find(plan, "/sys/fs/cgroup")->type == "tmpfs");
  CHECK(has(plan.masked_paths, "/etc/shadow"));
}

TEST_CASE("mount points lie in the shared root, in the run's home, or on the host, never elsewhere") {
  Planned planned;
  const std::string cache = planned.scratch.path().string() + "/cache";
  os::make_directories(cache);
  planned.run.cache_paths = {cache, "/no/such/cache"};
  planned.run.home = planned.scratch.path().string();
  planned.run.working_directory = planned.run.home + "/project";
  const MountPlan plan = planned.plan();
  CHECK(in_skeleton(plan, "/usr"));
  CHECK(in_skeleton(plan, kInitTarget));
  CHECK_FALSE(in_skeleton(plan, cache));
  const std::string home = planned.run.directory.home().string();
  const auto backed = [&](const std::string& path) {
    return std::any_of(plan.backing.begin(), plan.backing.end(), [&](const MountPoint& p) { return p.path == path; });
  };
  CHECK(backed(home + "/cache"));
  CHECK(backed(home + "/project"));
  CHECK_FALSE(find(plan, "/no/such/cache"));
}

TEST_CASE("paths that are visible already are not mounted again") {
  Planned planned;
  const std::string outer = planned.scratch.path().string() + "/outer";
  os::make_directories(outer + "/inner");
  planned.run.read_only_paths = {outer + "/inner", outer, "/usr/lib/python3", "/usr", "/", "relative", "/no/such"};
  const MountPlan plan = planned.plan();
  CHECK(find(plan, outer));
  CHECK_FALSE(find(plan, outer + "/inner"));
  CHECK_FALSE(find(plan, "/usr/lib/python3"));
  CHECK_FALSE(find(plan, "/"));
}

TEST_CASE("a path that is a link is visible under both names") {
  Planned planned;
  const std::string real = planned.scratch.path().string() + "/real", link = planned.scratch.path().string() + "/link";
  os::make_directories(real);
  std::filesystem::create_directory_symlink(real, link);
  planned.run.read_only_paths = {link};
  CHECK(find(planned.plan(), link));
  CHECK(find(planned.plan(), std::filesystem::canonical(real).string()));
}

TEST_CASE("the data directory is covered wherever a bind would show it") {
  Planned planned;
  planned.run.mounts = {{.source = planned.scratch.path().string(), .target = "/mnt/all", .writable = true}};
  const MountPlan plan = planned.plan();
  REQUIRE(find(plan, "/mnt/all/data"));
  CHECK(find(plan, "/mnt/all/data")->type == "tmpfs");
}

TEST_CASE("the directory of the run socket is seen read-only, where there is one") {
  Planned planned;
  CHECK_FALSE(find(planned.plan(), kApiTarget));
  planned.run.api = planned.scratch.path() / "data" / "api";
  os::make_directories(planned.run.api);
  const MountPlan plan = planned.plan();
  REQUIRE(find(plan, kApiTarget));
  CHECK(find(plan, kApiTarget)->source == planned.run.api.string());
  CHECK_FALSE(find(plan, kApiTarget)->file);
  CHECK(has(find(plan, kApiTarget)->options, "rro"));
}

TEST_CASE("mounts that cannot be are refused with the reason") {
  Planned planned;
  const auto with = [&](const std::string& source, const std::string& target) {
    planned.run.mounts = {{.source = source, .target = target, .writable = false}};
    return refusal(planned);
  };
  CHECK_THAT(with("/no/such/source", "/x"), Contains("--mount /no/such/source:/x") && Contains("does not exist"));
  CHECK_THAT(with(planned.run.directory.root().string(), "/x"), Contains("data directory"));
  for (const char* target :
       {"/proc/x", "/sys", "/dev/sda", "/run/runner/x", "/run/runner-api/x", "/run/runner-init", "/home/me/project"})
    CHECK_THAT(with("/usr", target), Contains("belongs to the sandbox"));
  CHECK_THAT(with("/usr", "/"), Contains("below /"));
  CHECK_THAT(with("/usr", "relative"), Contains("below /"));
  CHECK_THAT(with("/usr", "/etc/no-such-place"), Contains("/etc is the host's"));
}

TEST_CASE("overlay options escape what separates them, and mark what a user namespace needs") {
  Planned planned;
  CHECK(escape_overlay_path("/a:b,c\\d") == "/a\\:b\\,c\\\\d");
  planned.run.layers = {"/upper:most", "/lower"};
  const auto options = find(planned.plan(), planned.run.working_directory)->options;
  CHECK(has(options, "lowerdir=/upper\\:most:/lower"));
  CHECK(has(options, "redirect_dir=off"));
  CHECK_FALSE(has(options, "userxattr"));
  planned.context.user_namespace = true;
  const auto inside = find(planned.plan(), planned.run.working_directory)->options;
  CHECK(has(inside, "userxattr"));
  CHECK_FALSE(has(inside, "redirect_dir=off"));
  planned.run.layers.assign(40, std::filesystem::path("/" + std::string(120, 'x')));
  CHECK_THROWS_AS(planned.plan(), Error);
}

TEST_CASE("as many layers as fit make a mount, however long the path of the data directory and the name of the run") {
  Planned planned;
  const auto plan_in = [&](const std::filesystem::path& home) {
    const os::DataDirectory data(home);
    planned.run.directory = data.run(std::string(220, 'r'));
    planned.run.layers.assign(layers_that_fit(data), data.checkouts() / Hash{}.hex() / "tree");
    return planned.plan();
  };
  CHECK(layers_that_fit(os::DataDirectory("/home/me/.local/share/runner")) == 4);
  CHECK_NOTHROW(plan_in("/home/me/.local/share/runner"));
  std::size_t before = 4;
  for (std::size_t length = 100; length < 1000; length += 50) {
    const std::filesystem::path home = "/" + std::string(length / 2, 'h') + "/" + std::string(length / 4, ',');
    CHECK_NOTHROW(plan_in(home));
    CHECK(layers_that_fit(os::DataDirectory(home)) <= before);
    before = layers_that_fit(os::DataDirectory(home));
  }
  CHECK(before < 4);
  CHECK(layers_that_fit(os::DataDirectory("/" + std::string(5000, 'h'))) == 1);
}

TEST_CASE("the shared root is made once per set of mount points") {
  const ScratchDirectory scratch;
  const std::vector<MountPoint> points{{"/tmp", MountPoint::Kind::kDirectory, {}},
                                       {"/bin", MountPoint::Kind::kLink, "usr/bin"},
                                       {"/run/runner-init", MountPoint::Kind::kFile, {}}};
  const auto root = root_skeleton(scratch.path(), points);
  CHECK(root_skeleton(scratch.path(), points) == root);
  auto more = points;
  more.push_back({"/data", MountPoint::Kind::kDirectory, {}});
  CHECK(root_skeleton(scratch.path(), more) != root);
  struct ::stat info {};
  REQUIRE(::stat((root / "tmp").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 01777);
  CHECK(std::filesystem::read_symlink(root / "bin") == "usr/bin");
  CHECK(std::filesystem::is_regular_file(root / "run/runner-init"));
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path()))
    CHECK_FALSE(entry.path().filename().string().starts_with(".tmp-"));
}

TEST_CASE("the bundle says what the design promises, for each runtime and user") {
  Planned planned;
  BundleHost host = describe_host(planned.data, "/usr/bin/true", {});
  host.machine = "x86_64";
  const bool root = GENERATE(true, false);
  const bool crun = GENERATE(true, false);
  const bool network = GENERATE(true, false);
  host.uid = host.gid = root ? 0 : 1001;
  planned.run.limits.network = network;
  const Runtime runtime{
      .kind = crun ? Runtime::Kind::kCrun : Runtime::Kind::kRunc, .program = "/usr/bin/oci", .version = "1"};
  const os::RunCgroups cgroups{.version = 1, .directories = {{"memory", "/m/runner-r"}}, .foreign = {}};
  const json config = json::parse(make_config(planned.run, runtime, host, planned.plan(), "/rootfs", cgroups));
  CHECK(config["root"] == json{{"path", "/rootfs"}, {"readonly", true}});
  CHECK(config["process"]["args"] == json{"/run/runner-init", "/run/runner/log", "./train.py"});
  CHECK(config["process"]["env"] == json{"K=V"});
  CHECK(config["process"]["cwd"] == "/home/me/project");
  CHECK(config["process"]["noNewPrivileges"] == true);
  CHECK(config["process"]["oomScoreAdj"] == std::max(800, oom_score_of_runs()));
  REQUIRE(config["process"]["rlimits"].size() == 3);
  CHECK(config["process"]["rlimits"][0]["type"] == "RLIMIT_CORE");
  CHECK(config["process"]["rlimits"][0]["soft"] == 0);
  const json signals = config["process"]["rlimits"][1];
  CHECK(signals["type"] == "RLIMIT_SIGPENDING");
  CHECK(signals["soft"] == most_pending_signals_of_runs());
  CHECK(signals["hard"] == most_pending_signals_of_runs());
  const json messages = config["process"]["rlimits"][2];
  CHECK(messages["type"] == "RLIMIT_MSGQUEUE");
  CHECK(messages["soft"] == most_message_bytes_of_runs());
  CHECK(messages["hard"] == most_message_bytes_of_runs());
  for (const auto& [set, capabilities] : config["process"]["capabilities"].items()) CHECK(capabilities.empty());
  CHECK(config["process"]["user"]["uid"] == (crun ? host.uid : 0));
  const auto& section = config["linux"];
  const auto isolated = [&](const char* kind) {
    return std::any_of(section["namespaces"].begin(), section["namespaces"].end(),
                       [&](const json& n) { return n["type"] == kind; });
  };
  for (const char* kind : {"mount", "pid", "ipc", "uts"}) CHECK(isolated(kind));
  CHECK(isolated("network") == !network);
  CHECK(isolated("user") == !root);
  if (!root)
    CHECK(section["uidMappings"][0] ==
          json{{"containerID", crun ? 1001 : 0}, {"hostID", crun ? 0 : 1001}, {"size", 1}});
  CHECK(section.contains("cgroupsPath") == !crun);
}

TEST_CASE("arguments that JSON cannot carry are refused, not changed") {
  Planned planned;
  planned.run.arguments = {"train.py", "\xff"};
  const Runtime runtime{.kind = Runtime::Kind::kCrun, .program = "/usr/bin/crun", .version = "1"};
  const BundleHost host = describe_host(planned.data, "/usr/bin/true", {});
  CHECK_THROWS_AS(make_config(planned.run, runtime, host, planned.plan(), "/r", {}), Error);
}

TEST_CASE("a bundle may be written again, and joins only the cgroups it needs") {
  Planned planned;
  const Runtime runtime{.kind = Runtime::Kind::kCrun, .program = "/usr/bin/crun", .version = "1"};
  const BundleHost host = describe_host(planned.data, "/usr/bin/true", {});
  os::CgroupBase base;
  base.version = 1;
  base.directories = {{"memory", "/cg/m"}, {"pids", "/cg/p"}, {"cpu", "/cg/c"}, {"freezer", "/cg/f"}};
  write_bundle(planned.run, runtime, host, base);
  std::ofstream(planned.run.directory.journal(), std::ios::app) << "kept";
  write_bundle(planned.run, runtime, host, base);
  CHECK(os::read_file(planned.run.directory.journal()) == "kept");
  shim::Spec spec = shim::read_spec(planned.run.directory);
  CHECK(spec.cgroups.directories.empty());
  CHECK(spec.runtime_command.back() == "r");
  planned.run.limits.memory_bytes = 1 << 30;
  write_bundle(planned.run, runtime, host, base);
  spec = shim::read_spec(planned.run.directory);
  CHECK(spec.cgroups.directories.size() == 2);
  CHECK(spec.cgroups.directories.at("memory") == "/cg/m/runner-r");
  planned.run.limits.cpus = 2;
  planned.run.limits.pids = 7;
  write_bundle(planned.run, runtime, host, base);
  spec = shim::read_spec(planned.run.directory);
  CHECK(spec.cgroups.directories.size() == 4);
  CHECK(spec.limits.pids == 7);
}

TEST_CASE("the filter names one architecture and denies by default nothing") {
  const json filter = seccomp_filter("x86_64");
  CHECK(filter["defaultAction"] == "SCMP_ACT_ALLOW");
  CHECK(filter["architectures"] == json{"SCMP_ARCH_X86_64"});
  CHECK(seccomp_filter("aarch64")["architectures"] == json{"SCMP_ARCH_AARCH64"});
  CHECK(seccomp_filter("riscv64").empty());
  const auto denies = [&](const char* name) {
    return std::any_of(filter["syscalls"].begin(), filter["syscalls"].end(), [&](const json& rule) {
      return std::find(rule["names"].begin(), rule["names"].end(), name) != rule["names"].end();
    });
  };
  for (const char* name : {"unshare", "mount", "keyctl", "bpf", "io_uring_setup", "clone3", "ptrace"})
    CHECK(denies(name));
  for (const char* name : {"execve", "fork", "futex", "mmap"}) CHECK_FALSE(denies(name));
}

TEST_CASE("each way in which user namespaces are switched off has its own remedy") {
  const ScratchDirectory sysctl;
  os::make_directories(sysctl.path() / "user");
  os::make_directories(sysctl.path() / "kernel");
  CHECK(check_user_namespaces(sysctl.path(), 0, false).works);
  CHECK(check_user_namespaces(sysctl.path(), 1000, true).works);
  CHECK_THAT(check_user_namespaces(sysctl.path(), 1000, false, sysctl.path()).detail,
             Contains("refused by the kernel"));
  os::make_directories(sysctl.path() / "fs/selinux");
  std::ofstream(sysctl.path() / "fs/selinux/enforce") << "1";
  CHECK_THAT(check_user_namespaces(sysctl.path(), 1000, false, sysctl.path()).remedy, Contains("audit2allow"));
  std::ofstream(sysctl.path() / "kernel/apparmor_restrict_unprivileged_userns") << "1\n";
  const Check ubuntu = check_user_namespaces(sysctl.path(), 1000, false);
  CHECK_FALSE(ubuntu.works);
  CHECK_THAT(ubuntu.detail, Contains("Ubuntu"));
  CHECK_THAT(ubuntu.remedy, Contains("apparmor_restrict_unprivileged_userns=0"));
  std::ofstream(sysctl.path() / "kernel/unprivileged_userns_clone") << "0\n";
  CHECK_THAT(check_user_namespaces(sysctl.path(), 1000, false).remedy, Contains("unprivileged_userns_clone=1"));
  std::ofstream(sysctl.path() / "user/max_user_namespaces") << "0\n";
  CHECK_THAT(check_user_namespaces(sysctl.path(), 1000, false).remedy, Contains("max_user_namespaces"));
  CHECK_THAT(check_user_namespaces(sysctl.path() / "none", 1000, false).detail, Contains("CONFIG_USER_NS"));
}

TEST_CASE("limits that cannot be enforced are told with their reason") {
  os::CgroupBase base;
  base.version = 2;
  base.directories = {{"memory", "/cg"}};
  base.reasons = {{"pids", "the pids controller is not handed down"}, {"cpu", "no"}};
  const Check check = check_limits(base, 1000);
  CHECK_FALSE(check.works);
  CHECK_THAT(check.detail, Contains("--memory enforced") && Contains("--pids: the pids controller is not handed down"));
  CHECK_THAT(check.remedy, Contains("Delegate=yes"));
  CHECK_FALSE(limit_problem(base, "memory"));
}

TEST_CASE("without a runtime the sandbox says what to install, and prepares nothing") {
  const ScratchDirectory scratch;
  const BundleHost host = describe_host(os::DataDirectory(scratch.path()), "/usr/bin/true", {});
  const TrialResult result = try_runtimes(host, "/usr/bin/true", "/no/such/crun", "/usr/bin", false, {});
  CHECK_FALSE(result.runtime);
  REQUIRE(result.checks.size() == 1);
  CHECK(result.checks[0].detail == "not installed");
  CHECK_FALSE(result.checks[0].remedy.empty());
}

TEST_CASE("a runtime that fails its trial is not chosen and is quoted") {
  const ScratchDirectory scratch;
  const auto program = scratch.path() / "crun";
  std::ofstream(program) << "#!/bin/sh\necho 'no luck today' >&2\nexit 1\n";
  ::chmod(program.c_str(), 0755);
  const BundleHost host =
      describe_host(os::DataDirectory(scratch.path() / "data"), program_directory() / "runner-init", {});
  const TrialResult result =
      try_runtimes(host, program_directory() / "runner-shim", program.string(), "/usr/bin", false, {});
  CHECK_FALSE(result.runtime);
  REQUIRE(result.checks.size() == 1);
  CHECK_THAT(result.checks[0].detail, Contains("no luck today"));
  CHECK_FALSE(std::filesystem::exists(host.data.cache() / "oci-runtime.json"));
}

}  // namespace runner::exec::test
