// The answer to a restored snapshot, a run's or not (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "runner/core/content.hpp"

namespace runner::api {

struct RestoredFacts {
  std::string run;  // empty: it was asked for by the snapshot's own name
  Hash snapshot;
  std::string directory;   // absolute
  std::int64_t files = 0;  // regular files and symbolic links
  std::int64_t bytes = 0;
};
std::string restored_document(const RestoredFacts& restored);

}  // namespace runner::api
