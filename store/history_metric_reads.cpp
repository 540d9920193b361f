// Metrics on their way out. What is asked for is looked up by number: reading a thousand of a million points is a
// thousand steps, not a scan.
#include <algorithm>

#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/metric_values.hpp"

namespace runner::store {
namespace {

// Columns: step, time, value.
MetricPoint point_of(const Query& query, int first, std::string name) {
  MetricPoint point;
  point.name = std::move(name);
  if (!query.is_null(first)) point.step = query.integer(first);
  point.time = query.time(first + 1);
  point.value = value_at(query, first + 2);
  return point;
}

// Columns: step, time, cells.
MetricRow row_of(const Query& query, int first) {
  MetricRow row;
  if (!query.is_null(first)) row.step = query.integer(first);
  row.time = query.time(first + 1);
  row.cells = query.string(first + 2);
  return row;
}

// Calls `take` with the rows of one series: all of them, or `at_most`, evenly spaced with the first and the last kept.
template <class Take>
void read_series(Connection& connection, std::int64_t run, const std::string& name, bool rows,
                 std::optional<std::int64_t> at_most, const Take& take) {
  std::int64_t series = 0, count = 0;
  {
    Query query = connection.query(
        "SELECT id, count FROM metric_series WHERE run = ? AND name = ? AND (shape IN ('row', 'table')) = ?", run, name,
        rows ? 1 : 0);
    if (!query.next()) return;
    series = query.integer(0);
    count = query.integer(1);
  }
  const std::string from = rows ? "SELECT step, time, cells FROM metric_row WHERE series = ?"
                                : "SELECT step, time, value FROM metric_point WHERE series = ?";
  if (!at_most || count <= *at_most) {
    for (Query query = connection.query(from + " ORDER BY number", series); query.next();) take(query);
    return;
  }
  Query query = connection.query(from + " AND number = ?", series);
  for (std::int64_t i = 0; i < *at_most; ++i) {
    // 128 bits hold every product; of one the last is wanted.
    __extension__ using Wide = __int128;
    const Wide steps = std::max<std::int64_t>(*at_most - 1, 1);
    query.rewind();
    query.bind(2, *at_most == 1 ? count - 1 : static_cast<std::int64_t>(Wide{i} * (count - 1) / steps));
    if (query.next()) take(query);
  }
}

// A page of one series, from a number on.
template <class Take>
void read_page(Connection& connection, std::int64_t run, const std::string& name, bool rows, std::int64_t from,
               const Take& take) {
  constexpr int kMost = 4096;
  constexpr std::size_t kRoom = std::size_t{4} << 20;  // bytes
  Query query = connection.query(std::string(rows ? "SELECT p.step, p.time, p.cells FROM metric_row p"
                                                  : "SELECT p.step, p.time, p.value FROM metric_point p") +
                                     " JOIN metric_series s ON s.id = p.series WHERE s.run = ? AND s.name = ? AND "
                                     "(s.shape IN ('row', 'table')) = ?"
                                     " AND p.number >= ? ORDER BY p.number LIMIT ?",
                                 run, name, rows ? 1 : 0, from, std::int64_t{kMost});
  for (std::size_t bytes = 0; bytes < kRoom && query.next();) {
    bytes += sizeof(MetricPoint) + (query.type(2) == ColumnType::kText ? query.text(2).size() : 0);
    take(query);
  }
}

}  // namespace

std::vector<MetricSummary> History::metric_summaries(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<MetricSummary> summaries;
  Query query = reader->query(
      "SELECT s.name, s.count, s.minimum, s.maximum, s.shape, s.columns, p.step, p.time, p.value, w.step, w.time, "
      "w.cells"
      " FROM metric_series s LEFT JOIN metric_point p ON p.series = s.id AND p.number = s.count - 1"
      " LEFT JOIN metric_row w ON w.series = s.id AND w.number = s.count - 1 WHERE s.run = ? ORDER BY s.name",
      seq_of(*reader, id));
  while (query.next()) {
    MetricSummary& summary = summaries.emplace_back();
    summary.name = query.string(0);
    summary.count = query.integer(1);
    if (!query.is_null(2)) summary.min = query.real(2);
    if (!query.is_null(3)) summary.max = query.real(3);
    summary.shape = metric_shape_from(query.text(4)).value_or(MetricShape::kValue);
    if (!query.is_null(5)) summary.columns = columns_from(query.text(5));
    if (!query.is_null(7)) summary.last = point_of(query, 6, summary.name);
    if (!query.is_null(10)) summary.last_row = row_of(query, 9);
  }
  return summaries;
}

std::vector<MetricPoint> History::metric_points(const std::string& id, const std::string& name,
                                                std::optional<std::int64_t> at_most) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<MetricPoint> points;
  read_series(*reader, seq_of(*reader, id), name, false, at_most,
              [&](const Query& query) { points.push_back(point_of(query, 0, name)); });
  return points;
}

std::vector<MetricRow> History::metric_rows(const std::string& id, const std::string& name,
                                            std::optional<std::int64_t> at_most) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<MetricRow> rows;
  read_series(*reader, seq_of(*reader, id), name, true, at_most,
              [&](const Query& query) { rows.push_back(row_of(query, 0)); });
  return rows;
}

std::vector<MetricPoint> History::metric_points_from(const std::string& id, const std::string& name,
                                                     std::int64_t from) const {
  const auto reader = impl_->database.read();
  std::vector<MetricPoint> points;
  read_page(*reader, seq_of(*reader, id), name, false, from,
            [&](const Query& query) { points.push_back(point_of(query, 0, name)); });
  return points;
}

std::vector<MetricRow> History::metric_rows_from(const std::string& id, const std::string& name,
                                                 std::int64_t from) const {
  const auto reader = impl_->database.read();
  std::vector<MetricRow> rows;
  read_page(*reader, seq_of(*reader, id), name, true, from,
            [&](const Query& query) { rows.push_back(row_of(query, 0)); });
  return rows;
}

}  // namespace runner::store
