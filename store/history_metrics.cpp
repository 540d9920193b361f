// Metrics on their way in: points and rows as they were logged, and the summary of each metric kept up to date beside
// them. Reading them is in history_metric_reads.cpp.
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/metric_values.hpp"

namespace runner::store {
namespace {

// metric_series, as far as a batch changes it.
struct Series {
  std::int64_t id = 0;
  std::int64_t count = 0;
  MetricShape shape = MetricShape::kValue;
  std::optional<double> minimum{}, maximum{};
  const MetricValue* last = nullptr;  // of this batch
  std::vector<std::string> columns{};
  std::unordered_set<std::string> column_names{};

  void include(const MetricValue& value) {
    const auto* integer = std::get_if<std::int64_t>(&value);
    const auto* real = std::get_if<double>(&value);
    if (integer == nullptr && (real == nullptr || !std::isfinite(*real))) return;
    const double number = integer != nullptr ? static_cast<double>(*integer) : *real;
    minimum = std::min(minimum.value_or(number), number);
    maximum = std::max(maximum.value_or(number), number);
  }
};

Series open_series(Connection& connection, std::int64_t run, const std::string& name, MetricShape shape) {
  {
    Query query = connection.query(
        "SELECT id, count, minimum, maximum, shape, columns FROM metric_series WHERE run = ? AND name = ?", run, name);
    if (query.next()) {
      Series series{.id = query.integer(0), .count = query.integer(1)};
      if (!query.is_null(2)) series.minimum = query.real(2);
      if (!query.is_null(3)) series.maximum = query.real(3);
      series.shape =
          metric_shape_from(query.text(4)).value_or(MetricShape::kValue);  // the column's CHECK knows the words
      if (!query.is_null(5)) series.columns = columns_from(query.text(5));
      series.column_names.insert(series.columns.begin(), series.columns.end());
      return series;
    }
  }
  connection.run("INSERT INTO metric_series(run, name, count, shape) VALUES (?, ?, 0, ?)", run, name, to_string(shape));
  return {.id = connection.last_insert_id(), .shape = shape};
}

// One part of a journal. The records outlive it.
class Batch {
 public:
  Batch(Connection& connection, const std::string& id, std::int64_t run)
      : connection_(connection),
        id_(id),
        run_(run),
        point_(connection.query("INSERT INTO metric_point(series, number, step, time, value) VALUES (?, ?, ?, ?, ?)")),
        row_(connection.query("INSERT INTO metric_row(series, number, step, time, cells) VALUES (?, ?, ?, ?, ?)")) {}

  void add(const MetricRecord& record) {
    const Target target = target_of(record.run);
    if (target.standing != Standing::kOpen) {
      ++(target.standing == Standing::kEnded ? drops_.ended : drops_.foreign);
      return;
    }
    Series& series = series_of(target.run, record);
    if (has_rows(series.shape) != has_rows(record.shape)) {
      ++drops_.other_shape;
      if (drops_.example.empty()) drops_.example = record.name;
      return;
    }
    if (!add_columns(series, record.columns)) {
      ++drops_.too_wide;
      return;
    }
    if (record.shape == MetricShape::kList || record.shape == MetricShape::kTable) series.shape = record.shape;
    for (const MetricValue& value : record.values) insert(series, record, value);
    for (const std::string& cells : record.rows) insert(series, record, cells);
  }

  MetricDrops finish() {
    for (const auto& [key, series] : series_) {
      Query query = connection_.query(
          "UPDATE metric_series SET count = ?2, minimum = ?3, maximum = ?4, shape = ?5, columns = ?6,"
          " last = CASE WHEN ?7 THEN ?8 ELSE last END WHERE id = ?1",
          series.id, series.count, series.minimum, series.maximum, to_string(series.shape));
      if (has_rows(series.shape)) query.bind(6, to_columns(series.columns));
      query.bind(7, series.last != nullptr ? 1 : 0);
      if (series.last != nullptr) bind_last(query, 8, *series.last);
      query.next();
    }
    return drops_;
  }

 private:
  enum class Standing { kOpen, kEnded, kForeign };
  struct Target {
    std::int64_t run = 0;
    Standing standing = Standing::kForeign;
  };

  Target target_of(const std::string& id) {
    if (const auto known = targets_.find(id); known != targets_.end()) return known->second;
    Target target;
    Query query = connection_.query(
        "WITH RECURSIVE up(seq, parent) AS (SELECT seq, parent FROM run WHERE id = ?1"
        " UNION ALL SELECT r.seq, r.parent FROM run r JOIN up ON r.seq = up.parent WHERE r.seq < up.seq)"
        " SELECT seq, ended IS NOT NULL FROM run WHERE id = ?1 AND EXISTS (SELECT 1 FROM up WHERE up.seq = ?2)",
        id.empty() ? id_ : id, run_);
    if (query.next()) target = {query.integer(0), query.integer(1) != 0 ? Standing::kEnded : Standing::kOpen};
    targets_.emplace(id, target);
    return target;
  }

  Series& series_of(std::int64_t run, const MetricRecord& record) {
    const std::pair<std::int64_t, std::string_view> key(run, record.name);
    auto found = series_.find(key);
    if (found == series_.end())
      found = series_.emplace(key, open_series(connection_, run, record.name, record.shape)).first;
    return found->second;
  }

  // False, and nothing added, if they would be too many.
  static bool add_columns(Series& series, const std::vector<std::string>& columns) {
    const auto added = std::count_if(columns.begin(), columns.end(),
                                     [&](const std::string& column) { return !series.column_names.contains(column); });
    if (series.columns.size() + static_cast<std::size_t>(added) > kMaxMetricColumns) return false;
    if (added == 0) return true;
    for (const std::string& column : columns)
      if (series.column_names.insert(column).second) series.columns.push_back(column);
    return true;
  }

  void bind(Query& query, const Series& series, const MetricRecord& record) {
    query.rewind();
    query.bind(1, series.id);
    query.bind(2, series.count);
    query.bind(3, record.step);
    query.bind(4, record.time);
  }

  void insert(Series& series, const MetricRecord& record, const MetricValue& value) {
    bind(point_, series, record);
    bind_value(point_, 5, value);
    point_.next();
    series.include(value);
    series.last = &value;
    ++series.count;
  }

  void insert(Series& series, const MetricRecord& record, const std::string& cells) {
    bind(row_, series, record);
    row_.bind(5, cells);
    row_.next();
    ++series.count;
  }

  Connection& connection_;
  const std::string& id_;
  const std::int64_t run_;
  Query point_, row_;
  std::unordered_map<std::string, Target> targets_;
  std::map<std::pair<std::int64_t, std::string_view>, Series> series_;
  MetricDrops drops_;
};

std::int64_t offset_of(Connection& connection, std::int64_t run) {
  Query query = connection.query("SELECT offset FROM journal WHERE run = ?", run);
  return query.next() ? query.integer(0) : 0;
}

}  // namespace

MetricDrops History::add_metrics(const std::string& id, std::span<const MetricRecord> records,
                                 std::int64_t journal_offset, std::optional<int> attempt) {
  MetricDrops drops;
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    drops = {};
    const std::int64_t run = seq_of(connection, id);
    if (journal_offset <= offset_of(connection, run)) return;
    if (attempt && !connection.query("SELECT 1 FROM run WHERE seq = ? AND attempt = ?", run, *attempt).next()) return;
    Batch batch(connection, id, run);
    for (const MetricRecord& record : records) batch.add(record);
    drops = batch.finish();
    connection.run(
        "INSERT INTO journal(run, offset) VALUES (?, ?) ON CONFLICT(run) DO UPDATE SET offset = excluded.offset", run,
        journal_offset);
  });
  return drops;
}

std::int64_t History::journal_offset(const std::string& id) const {
  const auto reader = impl_->database.read();
  return offset_of(*reader, seq_of(*reader, id));
}

}  // namespace runner::store
