#include "runner/exec/gpus.hpp"

#include <algorithm>
#include <set>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {
namespace {

namespace fs = std::filesystem;

// Index before UUID: the shorter name, then the smaller.
bool better_name(const std::string& one, const std::string& other) {
  return one.size() != other.size() ? one.size() < other.size() : one < other;
}

std::vector<Gpu> gpus_of(const CdiSpec& spec) {
  std::vector<Gpu> gpus;
  for (const CdiDevice& device : spec.devices) {
    if (device.name == "all") continue;
    const auto same = std::find_if(gpus.begin(), gpus.end(), [&](const Gpu& gpu) {
      return gpu.edits.nodes == device.edits.nodes && !device.edits.nodes.empty();
    });
    if (same == gpus.end())
      gpus.push_back({.id = device.name, .other_names = {}, .kind = spec.kind, .edits = device.edits});
    else
      same->other_names.push_back(device.name);
  }
  for (Gpu& gpu : gpus) {
    for (std::string& name : gpu.other_names)
      if (better_name(name, gpu.id)) std::swap(name, gpu.id);
    ContainerEdits edits = spec.edits;
    add(edits, gpu.edits);
    gpu.edits = std::move(edits);
  }
  return gpus;
}

void take_cdi(GpuInventory& inventory, const GpuPlaces& places) {
  std::set<std::string> kinds;
  for (const CdiSpec& spec : read_cdi_directories(places.cdi_directories, inventory.problems)) {
    if (!spec.kind.ends_with("/gpu")) continue;
    for (Gpu& gpu : gpus_of(spec)) {
      // Two vendors' first GPU are both "0": the later one is known by its whole name.
      if (inventory.find(gpu.id) != nullptr) {
        if (inventory.find(spec.kind + "=" + gpu.id) != nullptr) continue;
        std::erase_if(gpu.other_names, [&](const std::string& name) { return inventory.find(name) != nullptr; });
        gpu.id = spec.kind + "=" + gpu.id;
      } else {
        gpu.other_names.push_back(spec.kind + "=" + gpu.id);
      }
      inventory.gpus.push_back(std::move(gpu));
      kinds.insert(spec.kind);
    }
  }
  for (const std::string& kind : kinds) inventory.source += (inventory.source.empty() ? "CDI: " : ", ") + kind;
}

std::string value_of(const std::string& text, const std::string& key) {
  const auto at = text.find(key + ":");
  if (at == std::string::npos) return {};
  auto begin = text.find_first_not_of(" \t", at + key.size() + 1);
  const auto end = text.find('\n', at);
  if (begin == std::string::npos || begin >= end) return {};
  std::string value = text.substr(begin, end - begin);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\r')) value.pop_back();
  return value;
}

// /proc/driver/nvidia/gpus/0000:01:00.0/information; the order of the bus addresses is that of nvidia-smi.
void take_nvidia_driver(GpuInventory& inventory, const GpuPlaces& places) {
  std::vector<fs::path> directories;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(places.proc / "driver/nvidia/gpus", failed))
    directories.push_back(entry.path());
  std::sort(directories.begin(), directories.end());
  int index = 0;
  for (const fs::path& directory : directories) {
    const auto text = os::read_file_if_exists(directory / "information", 1 << 16);
    const std::string minor = value_of(text.value_or(""), "Device Minor");
    const std::string node = "nvidia" + minor;
    if (minor.empty() || !fs::exists(places.dev / node, failed)) {
      inventory.problems.push_back("the NVIDIA driver knows of " + directory.filename().string() + ", but " +
                                   (places.dev / node).string() + " is missing: `nvidia-smi` makes it");
      continue;
    }
    Gpu gpu{.id = std::to_string(index++), .other_names = {}, .kind = kNvidiaGpu, .edits = {}};
    if (std::string uuid = value_of(*text, "GPU UUID"); !uuid.empty()) gpu.other_names.push_back(std::move(uuid));
    for (const std::string& name : {node, std::string("nvidiactl"), std::string("nvidia-uvm"),
                                    std::string("nvidia-uvm-tools"), std::string("nvidia-modeset")})
      if (fs::exists(places.dev / name, failed))
        gpu.edits.nodes.push_back({.path = "/dev/" + name, .host_path = (places.dev / name).string()});
    inventory.gpus.push_back(std::move(gpu));
    inventory.source = "the NVIDIA driver";
  }
}

}  // namespace

const Gpu* GpuInventory::find(const std::string& name) const {
  const auto found = std::find_if(gpus.begin(), gpus.end(), [&](const Gpu& gpu) {
    return gpu.id == name || std::find(gpu.other_names.begin(), gpu.other_names.end(), name) != gpu.other_names.end();
  });
  return found == gpus.end() ? nullptr : &*found;
}

GpuInventory find_gpus(const GpuPlaces& places) {
  GpuInventory inventory;
  for (const fs::path& directory : places.cdi_directories) inventory.looked_at += directory.string() + ", ";
  inventory.looked_at += (places.proc / "driver/nvidia").string();
  take_cdi(inventory, places);
  if (inventory.gpus.empty()) take_nvidia_driver(inventory, places);
  return inventory;
}

Check gpu_check(const GpuInventory& inventory) {
  Check check{.name = "gpus", .works = inventory.problems.empty(), .detail = {}, .remedy = {}};
  for (const Gpu& gpu : inventory.gpus) check.detail += (check.detail.empty() ? "" : ", ") + gpu.id;
  if (inventory.gpus.empty())
    check.detail = "none found (in " + inventory.looked_at + ")";
  else
    check.detail += " (by " + inventory.source + ")";
  for (const std::string& problem : inventory.problems) check.detail += "; " + problem;
  if (!check.works) check.remedy = "correct what is named, then `runner daemon stop` (the next command starts it anew)";
  return check;
}

}  // namespace runner::exec
