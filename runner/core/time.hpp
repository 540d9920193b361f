// Wall-clock instants and durations as the API writes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace runner {

// Microseconds since 1970-01-01 UTC. For records only; deadlines use CLOCK_MONOTONIC (runner/os/clock.hpp).
using UtcTime = std::chrono::sys_time<std::chrono::microseconds>;

UtcTime utc_now();
std::string to_iso8601(UtcTime time);                            // 2026-11-21T01:28:58.123456Z
std::optional<UtcTime> utc_from_iso8601(std::string_view text);  // the same form; fraction and Z optional

// "90", "90s", "1.5h", "30m", "2h", "1d", "500ms". Throws Error(kInvalid) naming `what` ("--max-run-duration") for
// anything else, negative values and values over 10 years.
std::chrono::milliseconds parse_duration(std::string_view text, std::string_view what);
std::string format_duration(std::chrono::milliseconds duration);  // "850ms", "12.3s", "4m 05s", "2h 03m", "3d 04h"

// "512", "512k", "2g", "1.5GiB", "64MB" (1024-based, as docker). Bytes. Throws Error(kInvalid) naming `what`.
std::int64_t parse_size(std::string_view text, std::string_view what);
std::string format_size(std::int64_t bytes);  // "0 B", "1.2 KiB", "34.0 MiB"

}  // namespace runner
