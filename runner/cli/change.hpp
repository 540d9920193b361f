// What cancel, pause and resume share: a request a run, its new status a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runner/cli/session.hpp"

namespace runner::cli {

// POSTs `body` to /v1/runs/RUN/ACTION for each run. Every run is tried; the first failure is thrown at the end and so
// decides about the exit code, and all of them are reported. Returns 0.
int change_runs(Session& session, const std::vector<std::string>& runs, std::string_view action, std::string_view body);

}  // namespace runner::cli
