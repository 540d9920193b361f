// Metric series: points as they were logged, and the summary of each series kept up to date beside them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "store/history.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

// metric_series, as far as a batch changes it.
struct Series {
  std::int64_t id;
  std::int64_t count;
  std::optional<double> minimum;
  std::optional<double> maximum;

  void include(double value) {
    if (!std::isfinite(value)) return;
    minimum = std::min(minimum.value_or(value), value);
    maximum = std::max(maximum.value_or(value), value);
  }
};

Series open_series(Connection& connection, std::int64_t run, const std::string& name) {
  {
    Query query =
        connection.query("SELECT id, count, minimum, maximum FROM metric_series WHERE run = ? AND name = ?", run, name);
    if (query.next()) {
      Series series{query.integer(0), query.integer(1), {}, {}};
      if (!query.is_null(2)) series.minimum = query.real(2);
      if (!query.is_null(3)) series.maximum = query.real(3);
      return series;
    }
  }
  connection.run("INSERT INTO metric_series(run, name, count) VALUES (?, ?, 0)", run, name);
  return {connection.last_insert_id(), 0, {}, {}};
}

void insert(Connection& connection, Series& series, const MetricPoint& point) {
  Query query = connection.query("INSERT INTO metric_point(series, number, step, time, value) VALUES (?, ?, ?, ?, ?)",
                                 series.id, series.count, point.step, point.time);
  constexpr int kValue = 5;
  if (point.integer) {
    query.bind(kValue, *point.integer);
    series.include(static_cast<double>(*point.integer));
  } else if (point.text) {
    query.bind(kValue, *point.text);
  } else {
    const double real = point.real.value_or(std::numeric_limits<double>::quiet_NaN());
    query.bind(kValue, real);
    series.include(real);
  }
  query.next();
  ++series.count;
}

// Columns: step, time, value.
MetricPoint point_of(const Query& query, int first, std::string name) {
  MetricPoint point;
  point.name = std::move(name);
  if (!query.is_null(first)) point.step = query.integer(first);
  point.time = query.time(first + 1);
  switch (query.type(first + 2)) {
    case ColumnType::kInteger:
      point.integer = query.integer(first + 2);
      break;
    case ColumnType::kReal:
      point.real = query.real(first + 2);
      break;
    case ColumnType::kText:
      point.text = query.string(first + 2);
      break;
    default:
      point.real = std::numeric_limits<double>::quiet_NaN();
      break;
  }
  return point;
}

std::int64_t offset_of(Connection& connection, std::int64_t run) {
  Query query = connection.query("SELECT offset FROM journal WHERE run = ?", run);
  return query.next() ? query.integer(0) : 0;
}

}  // namespace

void History::add_metrics(const std::string& id, std::span<const MetricPoint> points, std::int64_t journal_offset,
                          std::optional<int> attempt) {
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    const std::int64_t run = seq_of(connection, id);
    if (journal_offset <= offset_of(connection, run)) return;
    if (attempt && !connection.query("SELECT 1 FROM run WHERE seq = ? AND attempt = ?", run, *attempt).next()) return;
    std::unordered_map<std::string, Series> batch;
    for (const MetricPoint& point : points) {
      auto found = batch.find(point.name);
      if (found == batch.end()) found = batch.emplace(point.name, open_series(connection, run, point.name)).first;
      insert(connection, found->second, point);
    }
    for (const auto& [name, series] : batch)
      connection.run("UPDATE metric_series SET count = ?2, minimum = ?3, maximum = ?4 WHERE id = ?1", series.id,
                     series.count, series.minimum, series.maximum);
    connection.run(
        "INSERT INTO journal(run, offset) VALUES (?, ?) ON CONFLICT(run) DO UPDATE SET offset = excluded.offset", run,
        journal_offset);
  });
}

std::int64_t History::journal_offset(const std::string& id) const {
  const auto reader = impl_->database.read();
  return offset_of(*reader, seq_of(*reader, id));
}

std::vector<MetricSummary> History::metric_summaries(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<MetricSummary> summaries;
  Query query = reader->query(
      "SELECT s.name, s.count, s.minimum, s.maximum, p.step, p.time, p.value FROM metric_series s"
      " JOIN metric_point p ON p.series = s.id AND p.number = s.count - 1 WHERE s.run = ? ORDER BY s.name",
      seq_of(*reader, id));
  while (query.next()) {
    MetricSummary& summary = summaries.emplace_back();
    summary.name = query.string(0);
    summary.count = query.integer(1);
    if (!query.is_null(2)) summary.min = query.real(2);
    if (!query.is_null(3)) summary.max = query.real(3);
    summary.last = point_of(query, 4, summary.name);
  }
  return summaries;
}

std::vector<MetricPoint> History::metric_points(const std::string& id, const std::string& name) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<MetricPoint> points;
  Query query = reader->query(
      "SELECT p.step, p.time, p.value FROM metric_series s JOIN metric_point p ON p.series = s.id"
      " WHERE s.run = ? AND s.name = ? ORDER BY p.number",
      seq_of(*reader, id), name);
  while (query.next()) points.push_back(point_of(query, 0, name));
  return points;
}

}  // namespace runner::store
