// What of a journal was not taken into the history, to be summed over its parts. Plain values.
#pragma once

#include <cstdint>
#include <string>

namespace runner::store {

struct MetricDrops {
  std::int64_t other_shape = 0;  // records: points of a metric that has rows, or the other way round
  std::int64_t foreign = 0;      // records of runs that are neither this one nor below it
  std::int64_t ended = 0;        // records of runs that had ended
  std::int64_t too_wide = 0;     // records that would have given a metric more than kMaxMetricColumns columns
  std::string example{};         // a metric that there were other_shape of

  MetricDrops& operator+=(const MetricDrops& more);
  bool operator==(const MetricDrops&) const = default;
};
// One line for people; empty if nothing was dropped.
std::string to_text(const MetricDrops& drops);

}  // namespace runner::store
