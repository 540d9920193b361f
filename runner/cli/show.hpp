// A run as a page for people.
#pragma once

#include <string>

#include "runner/cli/document.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

std::string run_page(const Json& run, UtcTime now);

}  // namespace runner::cli
