// A whole metric, exactly, in bounded memory however long it is: what `get_metrics` reads
// (docs/decisions/run-history.md). One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/metrics.hpp"

namespace runner::api {

// Where the values come from: those from number `from` on, as many as the reader likes to give at once; none at the
// end. Asked more than once.
struct MetricPages {
  std::function<std::vector<MetricPoint>(std::int64_t from)> points;
  std::function<std::vector<MetricRow>(std::int64_t from)> rows;
};

// The cells of a table that are held at once, about, unless those of one column are more.
inline constexpr std::size_t kTableRoom = std::size_t{64} << 20;  // bytes

struct ExactMetric {
  MetricShape shape = MetricShape::kValue;
  std::int64_t count = 0;              // of points or rows; those beyond are not looked at
  std::vector<std::string> columns{};  // of rows, in order
};

// {"value": V}, {"list": [V, …]}, {"row": {COLUMN: V}} or {"table": {COLUMN: [V, …]}}, values as in the journal, null
// where a row has no column. A table is read as often as its cells fill `room`.
void write_exact_metric(const ExactMetric& metric, const MetricPages& pages,
                        const std::function<void(std::string_view)>& write, std::size_t room = kTableRoom);

}  // namespace runner::api
