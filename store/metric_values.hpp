// Values of metrics as columns of runner.db and back; private to the history_*.cpp files.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/metrics.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {

// INTEGER, REAL (infinities included) or TEXT as logged; NULL is NaN, which SQLite cannot hold; a file is a BLOB.
void bind_value(Query& query, int index, const MetricValue& value);
// What runs are looked for by: nothing for a file and for a text of more than 256 bytes.
void bind_last(Query& query, int index, const MetricValue& value);
MetricValue value_at(const Query& query, int column);

// metric_series.columns
std::string to_columns(const std::vector<std::string>& columns);
std::vector<std::string> columns_from(std::string_view text);

}  // namespace runner::store
