// The record that nearly every one is: a point with a number, as our own writers write it. Any thread.
#pragma once

#include <optional>
#include <string_view>

#include "runner/core/metrics.hpp"

namespace runner::collect {

// {"metric": NAME, "value": NUMBER, "step": INTEGER, "time": INTEGER}: these members, each once, in any order, with or
// without one blank behind colons and commas, NAME of ASCII letters without escapes. Nothing for every other text,
// whatever it is: that is for the reader of the whole grammar, which says the same of these in ten times the time.
std::optional<MetricRecord> parse_plain_point(std::string_view text);

}  // namespace runner::collect
