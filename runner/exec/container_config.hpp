// The body of POST /containers/create for a run: pure, so that every promise of docs/security.md can be read and tested
// in one place.
#pragma once

#include <string>

#include "runner/exec/engine_containers.hpp"
#include "runner/exec/mount_plan.hpp"

namespace runner::exec {

// JSON text. Error(kInvalid) for arguments or variables that are not UTF-8.
std::string make_container_config(const EngineRun& run, const BundleHost& host, const engine::EngineFacts& facts);

// A container that ends at once. What counts is that the Engine mounts the run's overlay work directory once more: the
// kernel then empties its work/work of what belongs to root, and an empty directory its owner can remove.
std::string make_sweep_config(const os::RunDirectory& directory, const std::string& image_id, const BundleHost& host);

// Mount points that would lie in directories of the run itself (its /tmp and HOME): host paths that must exist before
// the container starts, or the Engine makes them as root and an ordinary user cannot remove them any more.
// Error(kInvalid) for one in somebody else's directory, a --mount, that is not there.
std::vector<MountPoint> own_mount_points(const EngineRun& run);

// Labels ("K=V") by which the runner knows its containers: of one run; of what a daemon makes for itself, to look into
// an image or to sweep. The probe's value tells one daemon's from those that an earlier one left.
std::vector<std::string> run_labels(const std::filesystem::path& home, const std::string& run_id);
std::vector<std::string> probe_labels(const BundleHost& host);
inline constexpr const char* kProbeLabel = "runner.probe";

}  // namespace runner::exec
