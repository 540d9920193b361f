// What a run sees of the file system: every mount of its container, in the order in which they are made, and the mount
// points they need. Reads the host (stat, canonical paths), changes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runner/exec/sandbox.hpp"

namespace runner::exec {

struct PlannedMount {
  std::string target{};  // absolute in the container, normalised
  std::string type{};    // "bind", "overlay", "tmpfs", "proc", "devpts", "mqueue"
  std::string source{};
  std::vector<std::string> options{};
  bool file = false;  // the mount point is a file
};

// A thing that must exist before the mounts are made.
struct MountPoint {
  enum class Kind { kDirectory, kFile, kLink };
  std::string path;
  Kind kind = Kind::kDirectory;
  std::string link;  // kLink: its text
  bool operator==(const MountPoint&) const = default;
};

struct MountPlan {
  std::vector<PlannedMount> mounts;
  std::vector<MountPoint> skeleton;       // in the shared root directory; sorted, distinct; paths as in the container
  std::vector<MountPoint> backing;        // host paths inside the run's own home and tmp
  std::vector<std::string> masked_paths;  // hidden altogether
  std::vector<std::string> read_only_paths;  // of /proc
};

struct MountContext {
  std::filesystem::path data_home;       // hidden wherever a bind would show it
  std::filesystem::path init;            // runner-init on the host
  std::filesystem::path python_package;  // empty or missing: none
  std::filesystem::path passwd;          // to be seen as /etc/passwd; empty: the host's own
  bool user_namespace = false;           // overlay marks in user.* instead of trusted.*
  bool recursive_files = false;          // "rro" on single files: crun cannot, rootless runc needs it (platform.md, 2)
  std::int64_t shm_bytes = 0;
};

inline constexpr const char* kInitTarget = "/run/runner-init";
inline constexpr const char* kPythonTarget = "/run/runner-python";
inline constexpr const char* kIoTarget = "/run/runner";       // RunDirectory::io()
inline constexpr const char* kApiTarget = "/run/runner-api";  // DataDirectory::api()

// Error(kInvalid) for a --mount that cannot be: a source that is missing or inside the data directory, a target that
// belongs to the sandbox. Error(kInternal) when the layers' names exceed what mount(2) takes.
MountPlan plan_mounts(const SandboxRun& run, const MountContext& context);

// `\`, `:` and `,` separate things in overlay options.
std::string escape_overlay_path(const std::string& path);

}  // namespace runner::exec
