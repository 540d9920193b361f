// Answers that take long: lines {"progress": "…"}*, then {"result": {…}} or {"error": {…}} (docs/openapi.json).
#pragma once

#include <string>
#include <string_view>

#include "runner/cli/document.hpp"
#include "runner/cli/session.hpp"

namespace runner::cli {

// The result of POST `target`. Meanwhile standard error tells what is being done: on a terminal in one line that is
// rewritten, elsewhere a line when it becomes another thing. Throws the answer's error.
Json post_for_lines(Session& session, std::string_view target, const Json& body);

}  // namespace runner::cli
