// Container Device Interface files: what a vendor's tool (nvidia-ctk cdi generate, …) says a container needs for a
// device (https://github.com/cncf-tags/container-device-interface, SPEC.md, up to version 0.8).
// Hooks are not run: they make links and the loader's cache in an image's /usr, and the sandbox has the host's own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::exec {

struct DeviceNode {
  std::string path;       // in the container
  std::string host_path;  // where type and numbers are taken from
  bool operator==(const DeviceNode&) const = default;
};

struct ContainerEdits {
  std::map<std::string, std::string> variables;
  std::vector<DeviceNode> nodes;
  std::vector<Mount> mounts;
};
void add(ContainerEdits& to, const ContainerEdits& edits);  // what is there already stays once

struct CdiDevice {
  std::string name;  // "0", "GPU-5f0e…", "all"
  ContainerEdits edits;
};
struct CdiSpec {
  std::string kind;  // "nvidia.com/gpu"
  std::vector<CdiDevice> devices;
  ContainerEdits edits;  // whichever device is used
};
// Of a .json or .yaml file. Error(kInvalid) with the member that is wrong.
CdiSpec parse_cdi(const std::string& text);

// Every specification in `directories`, later ones replacing devices of the same kind and name of earlier ones, as CDI
// wants it. A file that is not root's or the caller's own, or that others may write, is left out: it says which devices
// and paths of the host a container sees. So is one that does not parse. `problems`: one line each.
std::vector<CdiSpec> read_cdi_directories(const std::vector<std::filesystem::path>& directories,
                                          std::vector<std::string>& problems);

}  // namespace runner::exec
