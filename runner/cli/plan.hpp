// What `submit --dry-run` prints.
#pragma once

#include <string>

#include "runner/cli/document.hpp"
#include "runner/cli/session.hpp"

namespace runner::cli {

// The answer of POST /v1/dry-run for people: every file, then the environment, the command and the limits.
std::string plan_page(const Json& plan);
// Prints it, or the answer itself with --json. Warnings go to standard error. 0.
int show_plan(Session& session, const std::string& answer);

}  // namespace runner::cli
