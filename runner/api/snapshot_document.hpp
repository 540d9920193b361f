// The JSON shapes of snapshots (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::api {

struct SnapshotFacts {
  Hash id;
  std::int64_t files = 0;  // regular files and symbolic links
  std::int64_t bytes = 0;
  std::vector<std::string> warnings;
};
std::string snapshot_document(const SnapshotFacts& snapshot);

}  // namespace runner::api
