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

struct SnapshotSummary {
  Hash id;
  std::int64_t files = 0;  // regular files and symbolic links
  std::int64_t directories = 0;
  std::int64_t bytes = 0;
};
std::string snapshot_summary_document(const SnapshotSummary& summary);

// Why a path of a source directory is in or out.
struct ExplainedPath {
  std::string path;
  bool included = false;
  std::string reason;
  std::string file;  // of the rule that decided; empty: none did
  std::uint32_t line = 0;
  std::string pattern;
};
std::string explanation_list_document(const std::vector<ExplainedPath>& paths);

}  // namespace runner::api
