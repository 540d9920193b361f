// Runs as a table: short id, experiment, status with its reason, age, duration, metrics, tags.
#pragma once

#include <string>

#include "runner/cli/document.hpp"
#include "runner/cli/session.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

enum class Layout { kList, kTree };  // kTree: each run below its parent, where that is one of the items

// `items` of GET /v1/runs; empty for no runs. `width`: columns, 0 for no limit.
std::string runs_table(const Json& items, std::size_t width, UtcTime now, Layout layout = Layout::kList);

// All that is below a run, page by page: the answer of GET /v1/runs. `run` is an id: a name such as @last may be
// another run's by the second page.
Json runs_below(Session& session, const std::string& run);
std::string id_of_run(Session& session, const std::string& name);  // Error(kNotFound), Error(kInvalid) as the daemon's

}  // namespace runner::cli
