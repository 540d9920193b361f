// The container's root: a directory of empty mount points, shared by all runs that need the same ones.
#pragma once

#include <filesystem>
#include <vector>

#include "runner/exec/mount_plan.hpp"

namespace runner::exec {

// The directory `roots`/<hash of the mount points>, made if it is not there (temporary name, then rename). May be
// removed at any time no run is starting. Any process.
std::filesystem::path root_skeleton(const std::filesystem::path& roots, const std::vector<MountPoint>& mount_points);

// Makes the mount points below `root`; existing ones are left as they are. Error(kInvalid) where two of them exclude
// each other.
void make_mount_points(const std::filesystem::path& root, const std::vector<MountPoint>& mount_points);

}  // namespace runner::exec
