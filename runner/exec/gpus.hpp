// The GPUs of this machine, and what a container needs for each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/exec/cdi.hpp"
#include "runner/exec/sandbox.hpp"

namespace runner::exec {

inline constexpr const char* kNvidiaGpu = "nvidia.com/gpu";

struct Gpu {
  std::string id;                        // "0": what a user calls it
  std::vector<std::string> other_names;  // "GPU-5f0e…"
  std::string kind;                      // CDI's: "nvidia.com/gpu"
  ContainerEdits edits;                  // for the sandbox
};

struct GpuInventory {
  std::vector<Gpu> gpus;                           // each once
  std::string source;                              // where they were found, for people; empty: nowhere
  std::string looked_at;                           // where they were looked for, for people
  std::vector<std::string> problems;               // one line each: files that say something but could not be used
  const Gpu* find(const std::string& name) const;  // by any of its names
};

struct GpuPlaces {
  std::vector<std::filesystem::path> cdi_directories{"/etc/cdi", "/var/run/cdi"};
  std::filesystem::path proc = "/proc";
  std::filesystem::path dev = "/dev";
};
// By CDI files of any vendor's "gpu" class; where there are none, by what NVIDIA's driver says in /proc/driver/nvidia:
// the sandbox sees the host's libraries, so the device nodes are all it lacks. Reads small files only.
GpuInventory find_gpus(const GpuPlaces& places);

// For `runner doctor`.
Check gpu_check(const GpuInventory& inventory);

}  // namespace runner::exec
