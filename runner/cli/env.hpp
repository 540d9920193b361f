// Environments as text, and their names.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "runner/cli/document.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

// NAME and az's -v VERSION as NAME:VERSION. Error(kInvalid) when the name has a version already.
std::string versioned(const std::string& name, const std::optional<std::string>& version);

// `items` of GET /v1/environments; empty for none. `width`: columns, 0 for no limit.
std::string environments_table(const Json& items, std::size_t width, UtcTime now);

// GET /v1/environments/{environment} for people.
std::string environment_page(const Json& environment);

}  // namespace runner::cli
