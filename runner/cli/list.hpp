// Runs as a table: short id, experiment, status with its reason, age, duration, metrics, tags.
#pragma once

#include <string>

#include "runner/cli/document.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

// `items` of GET /v1/runs; empty for no runs. `width`: columns, 0 for no limit.
std::string runs_table(const Json& items, std::size_t width, UtcTime now);

}  // namespace runner::cli
