// A run in a few lines, as submit and wait end with.
#pragma once

#include <string>

#include "runner/cli/document.hpp"

namespace runner::cli {

bool is_final_run(const Json& run);
// "run ID Completed in 3.2s", its last metrics, its outputs and, if it failed, why.
std::string summary_of(const Json& run, Stream stream);

}  // namespace runner::cli
