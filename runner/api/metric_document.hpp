// JSON of metrics as `show`, `list` and `run metrics` read them back (docs/decisions/run-history.md). Text that is not
// UTF-8 is written with U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runner/core/metrics.hpp"

namespace runner::api {

inline constexpr std::size_t kMaxMetricValues = 1000;  // per name in `show`; longer series are thinned evenly

struct MetricSeries {
  std::string name;
  MetricShape shape = MetricShape::kValue;
  std::int64_t count = 0;              // of the whole series; more than there are here if not all were asked for
  std::vector<MetricPoint> points{};   // in log order
  std::vector<MetricRow> rows{};       // the same
  std::vector<std::string> columns{};  // of rows
};

// {NAME: value, or [values] of a list, or {COLUMN: value} of one row, or {COLUMN: [values]} of a table}; a column that
// a row does not have is null there. A value that is a file is {"artifact": NAME, "type": "image"}. `thinned`: names of
// which there are more values than kMaxMetricValues.
nlohmann::ordered_json metrics_object(std::span<const MetricSeries> metrics, std::vector<std::string>& thinned);
// {NAME: the newest value or row}
nlohmann::ordered_json last_metrics_object(std::span<const MetricSeries> metrics);

// Exactly, as the journal has them: {"float": "nan"}, for the text NaN stays a text. What is damaged has no cells.
nlohmann::ordered_json logged_value(const MetricValue& value);
nlohmann::ordered_json logged_cells(const MetricRow& row);
std::string json_text(const std::string& text);  // in quotes

std::string metric_points_document(std::span<const MetricPoint> points);
std::string metric_rows_document(std::span<const MetricRow> rows);
// One of such a document's items.
std::string metric_item(const MetricPoint& point);
std::string metric_item(const MetricRow& row);
struct MetricOverview {
  std::string name;
  MetricShape shape = MetricShape::kValue;
  std::int64_t count = 0;
  std::optional<MetricPoint> last{};    // of points
  std::optional<MetricRow> last_row{};  // of rows
  std::optional<double> min{}, max{};
  std::vector<std::string> columns{};
};
std::string metric_overview_document(std::span<const MetricOverview> metrics);

}  // namespace runner::api
