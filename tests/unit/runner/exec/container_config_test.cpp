// Every promise about a container of the Engine, read from what is asked of the Engine.
#include "runner/exec/container_config.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::exec::test {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;
using Words = std::vector<std::string>;

struct Planned {
  ScratchDirectory scratch;
  BundleHost host{.data = os::DataDirectory(scratch.path() / "data"),
                  .init = "/opt/bin/runner-init",
                  .python_package = {},
                  .machine = "x86_64",
                  .uid = 1234,
                  .gid = 567,
                  .memory_total = std::int64_t{64} << 30,
                  .token = "7-8"};
  engine::EngineFacts facts{.api = "/v1.41", .version = "25", .os = "linux", .architecture = "amd64"};
  EngineRun run{.id = "r",
                .directory = host.data.run("r"),
                .layers = {"/checkouts/a"},
                .working_directory = "/home/me/project",
                .candidates = {},
                .arguments = {"./tool", "--x", "", "a b"},
                .variables = {{"K", "V=W"}, {"HOME", "/home/me"}},
                .home = "/home/me",
                .definition = {},
                .image = {.id = "sha256:abc", .environment = {}, .passwd = {}}};

  json config() const { return json::parse(make_container_config(run, host, facts)); }
  json host_config() const { return config()["HostConfig"]; }
};

json mount_at(const json& host_config, const std::string& target) {
  json found;
  for (const json& mount : host_config["Mounts"])
    if (mount["Target"] == target) {
      CHECK(found.is_null());  // nothing is mounted twice at one place
      found = mount;
    }
  return found;
}

std::string overlay_options(const Planned& planned) {
  return mount_at(planned.host_config(),
                  planned.run.working_directory)["VolumeOptions"]["DriverConfig"]["Options"]["o"];
}

bool has(const std::vector<MountPoint>& points, const std::filesystem::path& path, MountPoint::Kind kind) {
  return std::find(points.begin(), points.end(), MountPoint{path, kind, {}}) != points.end();
}

}  // namespace

TEST_CASE("a container has no privileges, no way to get any and no IPC with others") {
  const json config = Planned().host_config();
  CHECK(config["CapDrop"] == json{"ALL"});
  CHECK_FALSE(config.contains("CapAdd"));
  CHECK(config["SecurityOpt"] == json{"no-new-privileges"});
  CHECK(config["Privileged"] == false);
  CHECK(config["IpcMode"] == "private");
  CHECK_FALSE(config.contains("PidMode"));
  CHECK_FALSE(config.contains("Devices"));
  CHECK_FALSE(config.contains("Binds"));
}

TEST_CASE("the engine keeps no log, restarts nothing, removes nothing and checks no health") {
  const json config = Planned().config();
  CHECK(config["HostConfig"]["LogConfig"]["Type"] == "none");
  CHECK(config["HostConfig"]["AutoRemove"] == false);
  CHECK(config["HostConfig"]["RestartPolicy"]["Name"] == "no");
  CHECK(config["HostConfig"]["Init"] == false);
  CHECK(config["Healthcheck"]["Test"] == json{"NONE"});
  CHECK(config["StopSignal"] == "SIGTERM");
  CHECK(config["Tty"] == false);
  CHECK(config["OpenStdin"] == false);
}

TEST_CASE("what a run writes belongs to the caller, whatever the engine maps") {
  Planned planned;
  CHECK(planned.config()["User"] == "1234:567");
  CHECK(planned.host_config()["UsernsMode"] == "host");
  planned.facts.rootless = true;
  CHECK(planned.config()["User"] == "0:0");
  CHECK_FALSE(planned.host_config().contains("UsernsMode"));
  planned.facts.podman = true;
  CHECK(planned.config()["User"] == "1234:567");
  CHECK(planned.host_config()["UsernsMode"] == "keep-id");
  planned.facts.rootless = false;
  CHECK(planned.config()["User"] == "1234:567");
  CHECK(planned.host_config()["UsernsMode"] == "");
}

TEST_CASE("runner-init is what the container runs, and the script's words reach it untouched") {
  Planned planned;
  json config = planned.config();
  CHECK(config["Image"] == "sha256:abc");
  CHECK(config["Entrypoint"] == json{kInitTarget});
  CHECK(config["Cmd"] == Words{"--connect", "/run/runner/init", "--overlay", "--no-core", "/run/runner/log", "./tool",
                               "--x", "", "a b"});
  CHECK(config["WorkingDir"] == "/home/me/project");
  CHECK(config["Env"] == Words{"HOME=/home/me", "K=V=W"});
  planned.run.candidates = {"python3", "python"};
  planned.run.layers.clear();  // Podman: a copy, and no overlay to insist on
  CHECK(planned.config()["Cmd"] == Words{"--connect", "/run/runner/init", "--no-core", "--try", "python3", "--try",
                                         "python", "/run/runner/log", "./tool", "--x", "", "a b"});
}

TEST_CASE("words and variables that JSON cannot carry are refused") {
  Planned planned;
  planned.run.arguments.back() = "\xff";
  try {
    planned.config();
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("UTF-8"));
  }
  planned.run.arguments.back() = "gr\xc3\xbc\xc3\x9f";
  CHECK(planned.config()["Cmd"].back() == "gr\xc3\xbc\xc3\x9f");
  planned.run.variables["X"] = "\xfe";
  CHECK_THROWS_AS(planned.config(), Error);
}

TEST_CASE("shared memory is what was asked for, else half of the memory there is") {
  Planned planned;
  CHECK(planned.host_config()["ShmSize"] == std::int64_t{32} << 30);
  planned.run.definition.memory_bytes = 1 << 30;
  CHECK(planned.host_config()["ShmSize"] == 1 << 29);
  planned.run.definition.shm_bytes = 4096;
  CHECK(planned.host_config()["ShmSize"] == 4096);
}

TEST_CASE("the network is the host's, none or the one that was named") {
  Planned planned;
  CHECK(planned.host_config()["NetworkMode"] == "host");
  planned.run.definition.engine.network = "bridge";
  CHECK(planned.host_config()["NetworkMode"] == "bridge");
  planned.run.definition.network = false;
  CHECK(planned.host_config()["NetworkMode"] == "none");
}

TEST_CASE("limits count as in the sandbox: swap is memory, and runner-init is one process more") {
  Planned planned;
  for (const char* key : {"Memory", "MemorySwap", "NanoCpus", "PidsLimit"})
    CHECK_FALSE(planned.host_config().contains(key));
  planned.run.definition.memory_bytes = 1 << 30;
  planned.run.definition.cpus = 1.5;
  planned.run.definition.pids = 10;
  const json config = planned.host_config();
  CHECK(config["Memory"] == 1 << 30);
  CHECK(config["MemorySwap"] == 1 << 30);
  CHECK(config["NanoCpus"] == 1'500'000'000);
  CHECK(config["PidsLimit"] == 11);
}

TEST_CASE("GPUs are asked for by name, NVIDIA's as docker does it and others by CDI") {
  Planned planned;
  CHECK_FALSE(planned.host_config().contains("DeviceRequests"));
  planned.run.gpus = {{.id = "0", .other_names = {}, .kind = kNvidiaGpu, .edits = {}},
                      {.id = "GPU-b", .other_names = {}, .kind = kNvidiaGpu, .edits = {}},
                      {.id = "amd.com/gpu=1", .other_names = {}, .kind = "amd.com/gpu", .edits = {}},
                      {.id = "2", .other_names = {}, .kind = "amd.com/gpu", .edits = {}}};
  CHECK(planned.host_config()["DeviceRequests"] == json::parse(R"([
    {"DeviceIDs": ["0", "GPU-b"], "Capabilities": [["gpu"]]},
    {"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=1", "amd.com/gpu=2"]}])"));
}

TEST_CASE("a container is labelled as ours, and no label of the user's can hide that") {
  Planned planned;
  planned.run.definition.engine.labels = {{"team", "x"}, {"runner.run", "forged"}, {"runner.home", "forged"}};
  const json labels = planned.config()["Labels"];
  const std::string home = planned.host.data.home().string();
  CHECK(labels == json{{"team", "x"}, {"runner.run", "r"}, {"runner.home", home}});
  CHECK(run_labels(home, "r") == Words{"runner.home=" + home, "runner.run=r"});
  // An anonymous volume outlives a container that somebody removed without it: it is found by the same labels.
  const json volume = mount_at(planned.host_config(), "/home/me/project")["VolumeOptions"]["Labels"];
  CHECK(volume == json{{"runner.run", "r"}, {"runner.home", home}});
  CHECK(probe_labels(planned.host) == Words{"runner.home=" + home, "runner.probe=7-8"});
}

TEST_CASE("a run sees its own directories and nothing of the host that was not asked for") {
  Planned planned;
  os::make_directories(planned.scratch.path() / "python");
  const auto writable = [&](const std::string& target) {
    return mount_at(planned.host_config(), target)["ReadOnly"] == false;
  };
  const auto source = [&](const std::string& target) { return mount_at(planned.host_config(), target)["Source"]; };
  CHECK(source("/run/runner") == planned.run.directory.io().string());
  CHECK(writable("/run/runner"));
  CHECK(source(kInitTarget) == "/opt/bin/runner-init");
  CHECK_FALSE(writable(kInitTarget));
  CHECK(source("/etc/passwd") == planned.run.directory.passwd().string());
  CHECK_FALSE(writable("/etc/passwd"));
  CHECK(source("/tmp") == planned.run.directory.tmp().string());
  CHECK(source("/home/me") == planned.run.directory.home().string());
  CHECK(writable("/tmp"));
  CHECK(writable("/home/me"));
  CHECK(planned.host_config()["Mounts"].size() == 6);  // and the working directory
  planned.host.python_package = planned.scratch.path() / "python";
  CHECK(source("/run/runner-python") == planned.host.python_package.string());
  CHECK_FALSE(writable("/run/runner-python"));
  planned.run.api = "/data/api";
  CHECK(source("/run/runner-api") == "/data/api");
  CHECK_FALSE(writable("/run/runner-api"));
  const json mounts = planned.host_config()["Mounts"];
  for (const json& mount : mounts)
    if (mount["Type"] == "bind") CHECK(mount["BindOptions"]["Propagation"] == "rprivate");
}

TEST_CASE("a --mount replaces what would be at its place, and is read-only unless asked") {
  Planned planned;
  planned.run.definition.mounts = {{.source = "/big/tmp", .target = "/tmp", .writable = true},
                                   {.source = "/data", .target = "/data", .writable = false}};
  const json config = planned.host_config();
  CHECK(mount_at(config, "/tmp")["Source"] == "/big/tmp");
  CHECK(mount_at(config, "/tmp")["ReadOnly"] == false);
  CHECK(mount_at(config, "/data")["ReadOnly"] == true);
  planned.run.home = "/tmp";  // and a HOME that is /tmp is one directory
  planned.run.definition.mounts.clear();
  CHECK(mount_at(planned.host_config(), "/tmp")["Source"] == planned.run.directory.tmp().string());
}

TEST_CASE("the working directory is an anonymous overlay that the engine mounts") {
  Planned planned;
  planned.run.layers = {"/upper:most", "/lo,wer\\x"};
  const json volume = mount_at(planned.host_config(), "/home/me/project");
  CHECK(volume["Type"] == "volume");
  CHECK_FALSE(volume.contains("Source"));
  CHECK(volume["VolumeOptions"]["NoCopy"] == true);
  const json driver = volume["VolumeOptions"]["DriverConfig"];
  CHECK(driver["Name"] == "local");
  CHECK(driver["Options"]["type"] == "overlay");
  CHECK(driver["Options"]["device"] == "overlay");
  const std::string run = planned.run.directory.root().string();
  CHECK(overlay_options(planned) == "lowerdir=/upper\\:most:/lo\\,wer\\\\x,upperdir=" + run + "/upper,workdir=" + run +
                                        "/work,index=off,metacopy=off,redirect_dir=off");
  planned.facts.rootless = true;  // trusted.* marks need root
  CHECK_THAT(overlay_options(planned), Catch::Matchers::EndsWith(",userxattr") && !Contains("redirect_dir"));
}

TEST_CASE("layers whose names exceed what the kernel takes are an error that says the way out") {
  Planned planned;
  planned.run.layers.assign(40, std::filesystem::path("/" + std::string(120, 'x')));
  try {
    planned.config();
    FAIL("no error");
  } catch (const Error& error) {
    CHECK_THAT(error.message(), Contains("40 layers"));
    CHECK_THAT(error.hint(), Contains("RUNNER_HOME"));
  }
}

TEST_CASE("where no overlay can be, the working directory is the run's copy") {
  Planned planned;
  planned.facts.podman = true;
  CHECK_FALSE(EngineContainers::mounts_overlays(planned.facts));
  planned.run.layers.clear();
  const json bind = mount_at(planned.host_config(), "/home/me/project");
  CHECK(bind["Type"] == "bind");
  CHECK(bind["Source"] == planned.run.directory.copy().string());
  CHECK(bind["ReadOnly"] == false);
  const json mounts = planned.host_config()["Mounts"];
  for (const json& mount : mounts) CHECK(mount["Type"] == "bind");
}

TEST_CASE("secrets have a place in memory, and nothing of them is said to the engine") {
  Planned planned;
  CHECK_FALSE(planned.host_config().contains("Tmpfs"));
  planned.run.definition.secrets = {"WANDB_KEY"};
  planned.run.definition.engine.tmpfs = {{"/scratch", "size=1g"}};
  CHECK(planned.host_config()["Tmpfs"] ==
        json{{"/scratch", "size=1g"}, {"/run/secrets", "rw,nosuid,nodev,noexec,mode=0700,size=16m,uid=1234,gid=567"}});
  planned.facts.podman = true;  // which knows no owners of a tmpfs
  CHECK(planned.host_config()["Tmpfs"]["/run/secrets"] == "rw,nosuid,nodev,noexec,mode=1777,size=16m");
  CHECK_THAT(planned.config().dump(), !Contains("WANDB_KEY"));
}

TEST_CASE("the engine's own options are passed on, and only those that were given") {
  Planned planned;
  const json plain = planned.host_config();
  for (const char* key :
       {"MemoryReservation", "CpuShares", "CpusetCpus", "ExtraHosts", "Dns", "DnsSearch", "DnsOptions", "Tmpfs"})
    CHECK_FALSE(plain.contains(key));
  CHECK_FALSE(planned.config().contains("Hostname"));
  planned.run.definition.engine = {.network = {},
                                   .hostname = "box",
                                   .extra_hosts = {"db:10.0.0.1"},
                                   .dns = {"9.9.9.9"},
                                   .dns_search = {"corp"},
                                   .dns_options = {"ndots:1"},
                                   .labels = {},
                                   .ulimits = {{.name = "nofile", .soft = 10, .hard = 20}},
                                   .tmpfs = {},
                                   .cpuset_cpus = "0-2",
                                   .cpu_shares = 512,
                                   .memory_reservation = 4096};
  const json config = planned.host_config();
  CHECK(planned.config()["Hostname"] == "box");
  CHECK(config["ExtraHosts"] == json{"db:10.0.0.1"});
  CHECK(config["Dns"] == json{"9.9.9.9"});
  CHECK(config["DnsSearch"] == json{"corp"});
  CHECK(config["DnsOptions"] == json{"ndots:1"});
  const auto most = [](const char* name, std::uint64_t value) {
    return json{{"Name", name}, {"Soft", value}, {"Hard", value}};
  };
  const json signals = most("sigpending", most_pending_signals_of_runs());
  const json messages = most("msgqueue", most_message_bytes_of_runs());
  CHECK(plain["Ulimits"] == json::array({signals, messages}));
  CHECK(config["Ulimits"] == json::array({signals, messages, {{"Name", "nofile"}, {"Soft", 10}, {"Hard", 20}}}));
  CHECK_THAT(planned.config()["Cmd"].dump(), Contains("\"--no-core\""));
  planned.run.definition.engine.ulimits = {{.name = "core", .soft = -1, .hard = -1}};  // asked for: left alone
  CHECK_THAT(planned.config()["Cmd"].dump(), !Contains("--no-core"));
  CHECK(planned.host_config()["Ulimits"] ==
        json::array({signals, messages, {{"Name", "core"}, {"Soft", -1}, {"Hard", -1}}}));
  planned.run.definition.engine.ulimits = {{.name = "sigpending", .soft = 9999, .hard = 9999}};
  CHECK(planned.host_config()["Ulimits"] == json::array({messages, most("sigpending", 9999)}));
  planned.facts.podman = true;
  CHECK(planned.host_config()["Ulimits"] == json::array({messages, most("sigpending", 9999)}));
  planned.run.definition.engine.ulimits.clear();  // Podman's own stay only where none is given
  CHECK(planned.host_config()["Ulimits"] == json::array());
  planned.facts.podman = false;
  CHECK(config["CpusetCpus"] == "0-2");
  CHECK(config["CpuShares"] == 512);
  CHECK(config["MemoryReservation"] == 4096);
}

TEST_CASE("a sweep mounts the run's work directory once more and does nothing else") {
  const Planned planned;
  const json config = json::parse(make_sweep_config(planned.run.directory, "sha256:abc", planned.host));
  const std::string run = planned.run.directory.root().string();
  CHECK(config["HostConfig"]["Mounts"][1]["VolumeOptions"]["DriverConfig"]["Options"]["o"] ==
        "lowerdir=" + run + "/sweep/lower,upperdir=" + run + "/sweep/upper,workdir=" + run +
            "/work,index=off,metacopy=off,redirect_dir=off");
  CHECK(config["Cmd"] == json::array());
  CHECK(config["Entrypoint"] == json{kInitTarget});
  CHECK(config["User"] == "1234:567");
  CHECK(config["NetworkDisabled"] == true);
  CHECK(config["HostConfig"]["NetworkMode"] == "none");
  CHECK(config["HostConfig"]["CapDrop"] == json{"ALL"});
  CHECK(config["HostConfig"]["SecurityOpt"] == json{"no-new-privileges"});
  CHECK(config["HostConfig"]["ReadonlyRootfs"] == true);
  CHECK(config["HostConfig"]["LogConfig"]["Type"] == "none");
  CHECK(config["Labels"]["runner.probe"] == "7-8");
}

TEST_CASE("mount points in a run's own directories are made by us, not by the engine as root") {
  using Kind = MountPoint::Kind;
  Planned planned;
  const auto home = planned.run.directory.home();
  const auto tmp = planned.run.directory.tmp();
  const std::string file = (planned.scratch.path() / "file").string();
  std::ofstream(file) << "x";
  SECTION("the working directory below HOME") {
    CHECK(own_mount_points(planned.run) == std::vector<MountPoint>{{home / "project", Kind::kDirectory, {}}});
  }
  SECTION("the working directory below /tmp") {
    planned.run.working_directory = "/tmp/pytest/project";
    CHECK(own_mount_points(planned.run) == std::vector<MountPoint>{{tmp / "pytest/project", Kind::kDirectory, {}}});
  }
  SECTION("HOME below /tmp") {
    os::make_directories(home);  // as before every run
    planned.run.home = "/tmp/home";
    planned.run.working_directory = "/tmp/home/project";
    const auto points = own_mount_points(planned.run);
    CHECK(points.size() == 2);
    CHECK(has(points, tmp / "home", Kind::kDirectory));
    CHECK(has(points, home / "project", Kind::kDirectory));
  }
  SECTION("a working directory of the image's own tree needs none") {
    planned.run.working_directory = "/srv/project";
    CHECK(own_mount_points(planned.run).empty());
  }
  SECTION("mounts below HOME, each of its kind") {
    planned.run.definition.mounts = {
        {.source = file, .target = "/home/me/.netrc", .writable = false},
        {.source = planned.scratch.path().string(), .target = "/home/me/data", .writable = false},
        {.source = "/usr", .target = "/mnt/usr", .writable = false}};
    const auto points = own_mount_points(planned.run);
    CHECK(points.size() == 3);
    CHECK(has(points, home / "project", Kind::kDirectory));
    CHECK(has(points, home / ".netrc", Kind::kFile));
    CHECK(has(points, home / "data", Kind::kDirectory));
  }
  SECTION("mounts inside of the working directory: an overlay's upper layer takes them") {
    planned.run.definition.mounts = {{.source = file, .target = "/home/me/project/data.csv", .writable = false}};
    CHECK(own_mount_points(planned.run) == std::vector<MountPoint>{{home / "project", Kind::kDirectory, {}}});
  }
  SECTION("a place that looks like being below, and is not") {
    planned.run.working_directory = "/home/mercury/project";
    CHECK(own_mount_points(planned.run).empty());
  }
}

TEST_CASE("a mount below somebody else's directory must find its place there") {
  Planned planned;
  const std::string outer = (planned.scratch.path() / "outer").string();
  os::make_directories(outer + "/there");
  planned.run.working_directory = "/srv/project";
  planned.run.definition.mounts = {{.source = outer, .target = "/data", .writable = false},
                                   {.source = "/usr", .target = "/data/there", .writable = false}};
  CHECK(own_mount_points(planned.run).empty());
  CHECK_FALSE(std::filesystem::exists(outer + "/missing"));
  planned.run.definition.mounts.push_back({.source = "/usr", .target = "/data/missing", .writable = false});
  try {
    own_mount_points(planned.run);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("/data/missing") && Contains(outer) && Contains("no such place"));
    CHECK_THAT(error.hint(), Contains("outside of /data"));
  }
  CHECK_FALSE(std::filesystem::exists(outer + "/missing"));  // somebody else's is never written in
  planned.run.definition.mounts = {{.source = outer, .target = "/home/me", .writable = true}};
  planned.run.working_directory = "/home/me/project";  // a --mount in HOME's place
  CHECK_THROWS_AS(own_mount_points(planned.run), Error);
}

}  // namespace runner::exec::test
