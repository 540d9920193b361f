// Filtered lists, newest first. Each condition can drive the query through its own index or be checked row by row;
// SQLite has no statistics of a database that is minutes old, so the rarest condition is found by counting, a bounded
// number of rows each.
#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "store/history.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

// How far matches are counted, first and when that tells nothing: a thousand take about 0.05 ms.
constexpr std::int64_t kCountSteps[] = {1'000, 20'000};

using Value = std::variant<std::int64_t, std::string>;

struct Condition {
  std::string from;    // driving: the table with its index…
  std::string join;    // …what leads from there to `run r`…
  std::string where;   // …and the condition that an index answers
  std::string order;   // the column that says seq there
  std::string filter;  // checking a row of `run r`
  std::vector<Value> values;
  bool sorted;  // the index yields seq in order: a limit ends the search early
};

Condition on_run(const std::string& column, const std::string& test, std::vector<Value> values, bool sorted = true) {
  // The unary plus keeps SQLite from using another index than the one chosen here.
  return {.from = "run r INDEXED BY run_by_" + column,
          .join = "",
          .where = "r." + column + test,
          .order = "r.seq",
          .filter = "+r." + column + test,
          .values = std::move(values),
          .sorted = sorted};
}

Condition on_pair(const std::string& table, const std::string& key, const std::optional<std::string>& value) {
  const std::string test = value ? "key = ? AND value = ?" : "key = ?";
  Condition condition{.from = table + " d INDEXED BY " + table + "_by_key",
                      .join = " CROSS JOIN run r ON r.seq = d.run",
                      .where = test,
                      .order = "d.run",
                      .filter = "EXISTS (SELECT 1 FROM " + table + " WHERE run = r.seq AND " + test + ")",
                      .values = {key},
                      .sorted = value.has_value()};
  if (value) condition.values.emplace_back(*value);
  return condition;
}

// Nothing if the filter names an experiment or a parent that does not exist.
std::optional<std::vector<Condition>> conditions_of(Connection& connection, const RunFilter& filter) {
  std::vector<Condition> conditions;
  if (filter.experiment) {
    Query query = connection.query("SELECT id FROM experiment WHERE name = ?", *filter.experiment);
    if (!query.next()) return std::nullopt;
    conditions.push_back(on_run("experiment", " = ?", {query.integer(0)}));
  }
  if (filter.status) conditions.push_back(on_run("status", " = ?", {std::string(to_string(*filter.status))}));
  for (const auto& [key, value] : filter.tags) conditions.push_back(on_pair("tag", key, value));
  for (const auto& [key, value] : filter.properties) conditions.push_back(on_pair("property", key, value));
  if (filter.parent)
    conditions.push_back(on_run("parent", " = ?", {seq_of(connection, *filter.parent)}));
  else if (!filter.include_children)
    conditions.push_back(on_run("parent", " IS NULL", {}));
  if (filter.since)
    conditions.push_back(on_run("created", " >= ?", {std::int64_t{filter.since->time_since_epoch().count()}}, false));
  // Among equally frequent ones the first drives: one that needs no sorting.
  std::stable_partition(conditions.begin(), conditions.end(), [](const Condition& c) { return c.sorted; });
  return conditions;
}

void bind(Query& query, int& index, const std::vector<Value>& values) {
  for (const Value& value : values) std::visit([&](const auto& v) { query.bind(++index, v); }, value);
}

std::int64_t count_of(Connection& connection, const Condition& condition, std::int64_t at_most) {
  Query query = connection.query_once("SELECT count(*) FROM (SELECT 1 FROM " + condition.from + " WHERE " +
                                      condition.where + " LIMIT " + std::to_string(at_most) + ")");
  int index = 0;
  bind(query, index, condition.values);
  return query.next() ? query.integer(0) : 0;
}

void rarest_first(Connection& connection, std::vector<Condition>& conditions) {
  for (const std::int64_t at_most : kCountSteps) {
    // What the user asked for; that a run is top-level is true of nearly all of them.
    const auto asked =
        std::count_if(conditions.begin(), conditions.end(), [](const auto& c) { return !c.values.empty(); });
    if (conditions.size() < 2 || (at_most > kCountSteps[0] && asked < 2)) return;
    std::size_t rarest = 0;
    std::int64_t fewest = at_most;
    for (std::size_t i = 0; i < conditions.size(); ++i)
      if (const std::int64_t count = count_of(connection, conditions[i], at_most); count < fewest) {
        fewest = count;
        rarest = i;
      }
    std::swap(conditions[0], conditions[rarest]);
    if (fewest < at_most) return;
  }
}

Query select(Connection& connection, const std::vector<Condition>& conditions, std::int64_t limit) {
  std::string sql;
  if (conditions.empty()) {
    sql = "SELECT seq FROM run ORDER BY seq DESC LIMIT ?";
  } else {
    const Condition& driver = conditions.front();
    sql = "SELECT " + driver.order + " FROM " + driver.from + driver.join + " WHERE " + driver.where;
    for (std::size_t i = 1; i < conditions.size(); ++i) sql += " AND " + conditions[i].filter;
    sql += " ORDER BY " + driver.order + " DESC LIMIT ?";
  }
  Query query = connection.query_once(sql);
  int index = 0;
  for (const Condition& condition : conditions) bind(query, index, condition.values);
  query.bind(++index, limit);
  return query;
}

}  // namespace

std::vector<RunRecord> History::list(const RunFilter& filter, const Unreadable& unreadable) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<RunRecord> runs;
  auto conditions = conditions_of(*reader, filter);
  if (!conditions) return runs;
  rarest_first(*reader, *conditions);
  constexpr std::int64_t kNoLimit = -1;
  Query query = select(*reader, *conditions, std::max(filter.limit.value_or(kNoLimit), kNoLimit));
  while (query.next()) {
    const std::int64_t seq = query.integer(0);
    try {
      runs.push_back(load_run(*reader, seq));
    } catch (const Error& error) {
      if (!unreadable || impl_->database.damage()) throw;
      Query id = reader->query("SELECT id FROM run WHERE seq = ?", seq);
      unreadable(id.next() ? id.string(0) : "number " + std::to_string(seq), error.message());
    }
  }
  return runs;
}

std::vector<RunRecord> History::unfinished(const Unreadable& unreadable) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<RunRecord> runs;
  Query query = reader->query(
      "SELECT seq, id FROM run WHERE status IN ('NotStarted', 'Preparing', 'Queued', 'Starting', 'Running', 'Paused',"
      " 'CancelRequested', 'Finalizing') ORDER BY seq");
  while (query.next()) {
    try {
      runs.push_back(load_run(*reader, query.integer(0)));
    } catch (const Error& error) {
      if (!unreadable || impl_->database.damage()) throw;
      unreadable(query.string(1), error.message());
    }
  }
  return runs;
}

}  // namespace runner::store
