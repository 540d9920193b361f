// What scripts log: values, lists of them, rows of tables, files. Plain values; the journal's grammar is in
// runner/collect/metric_journal.hpp, JSON shapes are in runner/api.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runner/core/time.hpp"

namespace runner {

inline constexpr std::size_t kMaxMetricName = 4096;     // bytes, of a metric or a column
inline constexpr std::size_t kMaxMetricColumns = 1000;  // of one metric's rows

// A value that is a file: which artifact of the run, and what it shows.
enum class MetricFileType { kImage, kConfusionMatrix, kAccuracyTable, kResiduals, kPredictions };
std::string_view to_string(MetricFileType type);  // "image", "confusion_matrix", …
std::optional<MetricFileType> metric_file_type_from(std::string_view text);

struct MetricFile {
  std::string artifact;
  MetricFileType type = MetricFileType::kImage;
  bool operator==(const MetricFile&) const = default;
};

// 64-bit integers and doubles that are not finite round-trip.
using MetricValue = std::variant<double, std::int64_t, std::string, MetricFile>;

struct MetricPoint {
  std::string name;
  std::optional<std::int64_t> step{};
  UtcTime time{};
  MetricValue value{};
};

struct MetricRow {
  std::optional<std::int64_t> step{};
  UtcTime time{};
  std::string cells;  // a JSON object: {COLUMN: value}, values as in the journal
};

// What a metric reads back as. A value that is logged again is a list of its points, and so is what was logged as a
// list; a row that is logged again is a table, and so is what was logged as one.
enum class MetricShape { kValue, kList, kRow, kTable };
std::string_view to_string(MetricShape shape);  // "value", "list", "row", "table"
std::optional<MetricShape> metric_shape_from(std::string_view text);
bool has_rows(MetricShape shape);  // row and table; else points

// What one record of a journal says of one metric.
struct MetricRecord {
  std::string run;  // the id of a descendant; empty: the run whose journal it is
  std::string name;
  MetricShape shape = MetricShape::kValue;
  std::optional<std::int64_t> step{};
  UtcTime time{};
  std::vector<MetricValue> values{};   // a value: one; a list: any number
  std::vector<std::string> columns{};  // of the rows, in the order of the record, each once
  std::vector<std::string> rows{};     // MetricRow::cells; a row: one; a table: any number
};

}  // namespace runner
