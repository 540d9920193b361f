// A stack of layers as an overlay of them would show it, compared with the snapshot that it is meant to be. For fsck:
// no mount is needed. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::snapshot {

// What differs, one line each ("a/b: its content differs"), at most 100; empty: equal. Every file is read, and compared
// with the hash that is its name: what the store has of it does not matter. `layers` topmost first. A directory whose
// tree the store cannot read is not looked into.
std::vector<std::string> compare_layers(const ContentReader& store, const Hash& snapshot,
                                        const std::vector<std::filesystem::path>& layers);

}  // namespace runner::snapshot
