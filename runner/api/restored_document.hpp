// The answer of POST /v1/runs/{run}/restore (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "runner/core/content.hpp"

namespace runner::api {

struct RestoredFacts {
  std::string run;
  Hash snapshot;
  std::string directory;   // absolute
  std::int64_t files = 0;  // regular files and symbolic links
  std::int64_t bytes = 0;
};
std::string restored_document(const RestoredFacts& restored);

}  // namespace runner::api
