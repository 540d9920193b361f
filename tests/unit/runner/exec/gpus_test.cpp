#include "runner/exec/gpus.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "../../mutations.hpp"
#include "container_fixture.hpp"
#include "runner/core/error.hpp"
#include "runner/exec/bundle.hpp"
#include "runner/os/file.hpp"

namespace runner::exec::test {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nlohmann::json;
using Names = std::vector<std::string>;

// As nvidia-ctk 1.16 writes it (`cdi generate --device-name-strategy index --device-name-strategy uuid`), shortened;
// the nodes are devices that every machine has.
constexpr const char* kNvidia = R"(---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
    hostPath: /dev/null
  - path: /dev/nvidia-uvm
    hostPath: /dev/full
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args: [nvidia-cdi-hook, create-symlinks, --link, "libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so"]
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  mounts:
  - containerPath: /usr/lib/os-release
    hostPath: /usr/lib/os-release
    options: [ro, nosuid, nodev, bind]
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/zero}]
- name: GPU-5f0e7b2a-0001
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/zero}]
- name: "1"
  containerEdits:
    deviceNodes: [{path: /dev/nvidia1, hostPath: /dev/random}]
- name: GPU-5f0e7b2a-0002
  containerEdits:
    deviceNodes: [{path: /dev/nvidia1, hostPath: /dev/random}]
- name: all
  containerEdits:
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/zero}, {path: /dev/nvidia1, hostPath: /dev/random}]
)";

struct Machine {
  ScratchDirectory scratch;
  GpuPlaces places{.cdi_directories = {scratch.path() / "etc", scratch.path() / "run"},
                   .proc = scratch.path() / "proc",
                   .dev = scratch.path() / "dev"};
  void write(const fs::path& file, const std::string& text, mode_t mode = 0644) {
    fs::create_directories((scratch.path() / file).parent_path());
    os::publish_file(scratch.path() / file, text, os::Durability::kAtomic);
    ::chmod((scratch.path() / file).c_str(), mode);
  }
  GpuInventory find() const { return find_gpus(places); }
};

Names ids(const GpuInventory& inventory) {
  Names names;
  for (const Gpu& gpu : inventory.gpus) names.push_back(gpu.id);
  return names;
}

}  // namespace

TEST_CASE("a CDI file names each GPU once, by all of its names") {
  Machine machine;
  machine.write("etc/nvidia.yaml", kNvidia);
  const GpuInventory found = machine.find();
  CHECK(ids(found) == Names{"0", "1"});
  CHECK(found.source == "CDI: nvidia.com/gpu");
  CHECK(found.problems.empty());
  REQUIRE(found.find("GPU-5f0e7b2a-0002") != nullptr);
  CHECK(found.find("GPU-5f0e7b2a-0002")->id == "1");
  CHECK(found.find("nvidia.com/gpu=0")->id == "0");
  CHECK(found.find("all") == nullptr);
  CHECK(gpu_check(found).detail == "0, 1 (by CDI: nvidia.com/gpu)");
}

// The golden text is what Podman 4.3 makes of the same file (`podman create --device nvidia.com/gpu=0`, then `init`),
// and the mode and owner of the host's nodes beside it.
TEST_CASE("a run's config.json has the devices and variables that a CDI runtime would give it") {
  Machine machine;
  machine.write("etc/nvidia.yaml", kNvidia);
  const GpuInventory found = machine.find();
  SandboxRun run{.id = "r",
                 .directory = os::RunDirectory(machine.scratch.path() / "runs/r"),
                 .layers = {"/checkouts/a"},
                 .working_directory = "/work",
                 .arguments = {"true"},
                 .variables = {},
                 .read_only_paths = {},
                 .cache_paths = {},
                 .mounts = {},
                 .home = "/home/me",
                 .limits = {}};
  add(run.devices, found.gpus[0].edits);
  BundleHost host{.data = os::DataDirectory(machine.scratch.path() / "data"),
                  .init = "/opt/bin/runner-init",
                  .python_package = {},
                  .machine = "x86_64"};
  const Runtime runtime{.kind = Runtime::Kind::kCrun, .program = "/usr/bin/crun", .version = "1"};
  SECTION("as root") {
    const json config = json::parse(make_config(run, runtime, host, plan_for(run, runtime, host), "/root", {}));
    const json golden = json::parse(R"([
      {"path": "/dev/nvidiactl", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0},
      {"path": "/dev/nvidia-uvm", "type": "c", "major": 1, "minor": 7, "fileMode": 438, "uid": 0, "gid": 0},
      {"path": "/dev/nvidia0", "type": "c", "major": 1, "minor": 5, "fileMode": 438, "uid": 0, "gid": 0}])");
    CHECK(config["linux"]["devices"] == golden);
    CHECK(config["process"]["env"] == json{"NVIDIA_VISIBLE_DEVICES=void"});
    CHECK_FALSE(config["linux"].contains("resources"));
    const Runtime runc{.kind = Runtime::Kind::kRunc, .program = "/usr/sbin/runc", .version = "1"};
    const json with_runc = json::parse(make_config(run, runc, host, plan_for(run, runc, host), "/root", {}));
    REQUIRE(with_runc["linux"]["resources"]["devices"].size() == 3);
    CHECK(with_runc["linux"]["resources"]["devices"][2] ==
          json{{"allow", true}, {"type", "c"}, {"major", 1}, {"minor", 5}, {"access", "rwm"}});
    CHECK_FALSE(config.contains("hooks"));  // the host's /usr has what they would make
    for (const json& mount : config["mounts"]) CHECK(mount["destination"] != "/usr/lib/os-release");  // seen already
  }
  SECTION("in a user namespace, where no device can be made, the host's are mounted") {
    host.uid = host.gid = 1234;
    const json config = json::parse(make_config(run, runtime, host, plan_for(run, runtime, host), "/root", {}));
    CHECK_FALSE(config["linux"].contains("devices"));
    json devices = json::array();
    for (const json& mount : config["mounts"])
      if (mount["destination"].get<std::string>().starts_with("/dev/nvidia")) devices.push_back(mount);
    REQUIRE(devices.size() == 3);
    for (const json& device : devices) CHECK(device["options"] == json{"bind", "rw", "nosuid", "noexec"});
    CHECK(devices[2]["source"] == "/dev/zero");
  }
  SECTION("the user's own variable wins") {
    run.variables["NVIDIA_VISIBLE_DEVICES"] = "0";
    const json config = json::parse(make_config(run, runtime, host, plan_for(run, runtime, host), "/root", {}));
    CHECK(config["process"]["env"] == json{"NVIDIA_VISIBLE_DEVICES=0"});
  }
  SECTION("a device that has gone keeps the run from starting, and is named") {
    run.devices.nodes.push_back({"/dev/nvidia7", "/dev/none-such"});
    CHECK_THROWS_WITH(make_config(run, runtime, host, plan_for(run, runtime, host), "/root", {}),
                      Contains("/dev/none-such"));
  }
}

TEST_CASE("a later directory's device replaces an earlier one's of the same name") {
  Machine machine;
  machine.write("etc/nvidia.yaml", kNvidia);
  machine.write("run/nvidia.json", R"({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
    {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia5"}]}}]})");
  const GpuInventory found = machine.find();
  REQUIRE(found.find("0") != nullptr);
  CHECK(found.find("0")->edits.nodes.front().host_path == "/dev/nvidia5");
}

TEST_CASE("two vendors' GPUs of one name are told apart") {
  Machine machine;
  machine.write("etc/amd.json", R"({"cdiVersion": "0.5.0", "kind": "amd.com/gpu", "devices": [
    {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/dri/renderD128"}]}}]})");
  machine.write("etc/nvidia.yaml", kNvidia);
  machine.write("etc/nic.json", R"({"cdiVersion": "0.5.0", "kind": "vendor.com/nic", "devices": [{"name": "9"}]})");
  CHECK(ids(machine.find()) == Names{"0", "nvidia.com/gpu=0", "1"});
}

TEST_CASE("a CDI file that others could have written, or that is wrong, is left out and named") {
  Machine machine;
  machine.write("etc/open.yaml", kNvidia, 0666);
  machine.write("etc/broken.yaml", "devices: [");
  machine.write("etc/node.json", R"({"cdiVersion": "0.5.0", "kind": "a.b/gpu", "devices": [
    {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/etc/shadow"}]}}]})");
  const GpuInventory found = machine.find();
  CHECK(found.gpus.empty());
  CHECK_THAT(gpu_check(found).detail, Contains("none found (in " + (machine.scratch.path() / "etc").string() + ", "));
  REQUIRE(found.problems.size() == 3);
  CHECK_THAT(found.problems[0], Contains("broken.yaml is left out: line "));
  CHECK_THAT(found.problems[1], Contains("node.json is left out: deviceNodes: /etc/shadow is not below /dev"));
  CHECK_THAT(found.problems[2], Contains("open.yaml is left out: others than its owner may write it"));
  CHECK_FALSE(gpu_check(found).works);
}

TEST_CASE("without CDI files the NVIDIA driver says what there is") {
  Machine machine;
  for (const char* name : {"nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"}) machine.write(fs::path("dev") / name, "");
  machine.write("proc/driver/nvidia/gpus/0000:81:00.0/information",
                "Model: \t\t NVIDIA A100\nGPU UUID: \t GPU-b\nBus Type: \t PCIe\nDevice Minor: \t 0\n");
  machine.write("proc/driver/nvidia/gpus/0000:01:00.0/information",
                "Model: \t\t NVIDIA A100\nGPU UUID: \t GPU-a\nDevice Minor: \t 1\n");
  machine.write("proc/driver/nvidia/gpus/0000:c1:00.0/information", "GPU UUID: \t GPU-c\nDevice Minor: \t 2\n");
  const GpuInventory found = machine.find();
  CHECK(ids(found) == Names{"0", "1"});  // in the order of the bus, as nvidia-smi counts
  CHECK(found.find("GPU-a")->id == "0");
  const auto& nodes = found.gpus[0].edits.nodes;
  REQUIRE(nodes.size() == 3);
  CHECK(nodes[0].path == "/dev/nvidia1");
  CHECK(nodes[1].path == "/dev/nvidiactl");
  CHECK(nodes[2].path == "/dev/nvidia-uvm");
  REQUIRE(found.problems.size() == 1);
  CHECK_THAT(found.problems[0], Contains("0000:c1:00.0") && Contains("nvidia2 is missing"));
}

TEST_CASE("whatever a CDI file says, it is read or refused") {
  const std::string text = kNvidia;
  for_each_mutation(text, "{}[]:,-\"'\n &*!|>%@`\t\\#0/", 3000, [](const std::string& damaged) {
    try {
      const CdiSpec spec = parse_cdi(damaged);
      for (const CdiDevice& device : spec.devices)
        for (const DeviceNode& node : device.edits.nodes) CHECK(node.path.starts_with("/dev/"));
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kInvalid);
    }
  });
}

}  // namespace runner::exec::test
