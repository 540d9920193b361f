// The answer of POST /v1/dry-run: what a submission would do (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::api {

struct PlanFile {
  std::string_view path;
  std::string_view type;  // "file", "executable", "symlink"
  std::int64_t bytes;
};

struct PlanFacts {
  bool environment_present = false;
  std::vector<std::string> interpreter_candidates;  // of an image: the first that it has runs `command`
  std::vector<std::string> command;
  std::string working_directory;
  std::vector<std::string> warnings;
};

// Of the run what is known before it exists. Paths that are not UTF-8 are written with U+FFFD.
std::string plan_document(const RunRecord& run, const PlanFacts& facts, std::span<const PlanFile> files);

}  // namespace runner::api
