// The answer of GET /v1/runs/{run}/code-diff (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runner/core/content.hpp"

namespace runner::api {

struct ChangedFile {
  std::string_view path;
  std::string_view old_path;  // of a renamed one, else empty
  std::string_view status;    // "added", "deleted", "modified", "renamed", "typeChanged"
  std::string_view old_type;  // "file", "executable", "symlink", "directory" (an empty one); empty: it was not there
  std::string_view type;
  int similarity = 0;  // percent, of a renamed one
  std::int64_t old_bytes = 0;
  std::int64_t bytes = 0;
  bool binary = false;
  std::int64_t additions = 0;  // lines
  std::int64_t deletions = 0;
};

struct ComparedRuns {
  std::string before;
  std::string after;
  Hash before_snapshot;
  Hash after_snapshot;
};

// Paths that are not UTF-8 are written with U+FFFD.
std::string code_diff_document(const ComparedRuns& runs, std::span<const ChangedFile> files);

}  // namespace runner::api
