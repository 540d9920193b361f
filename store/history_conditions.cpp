#include "store/history_conditions.hpp"

#include <algorithm>

#include "runner/core/error.hpp"
#include "store/history_rows.hpp"
#include "store/parameters.hpp"

namespace runner::store {
namespace {

Condition on_run(const std::string& column, const std::string& test, std::vector<SqlValue> values, bool sorted = true) {
  // The unary plus keeps SQLite from using another index than the one chosen here.
  return {.from = "run r INDEXED BY run_by_" + column,
          .join = "",
          .where = "r." + column + test,
          .order = "r.seq",
          .filter = "+r." + column + test,
          .values = std::move(values),
          .sorted = sorted};
}

// A row of a table that hangs on the run; `where` is of the alias d.
Condition on_row(const std::string& table, const std::string& index, const std::string& where,
                 std::vector<SqlValue> values, bool sorted) {
  return {.from = table + " d INDEXED BY " + table + "_by_" + index,
          .join = " CROSS JOIN run r ON r.seq = d.run",
          .where = where,
          .order = "d.run",
          // Through the primary key of the table: it begins with the run.
          .filter = "EXISTS (SELECT 1 FROM " + table + " d WHERE d.run = r.seq AND " + where + ")",
          .values = std::move(values),
          .sorted = sorted};
}

Condition on_pair(const std::string& table, const std::string& key, const std::optional<std::string>& value) {
  if (value) return on_row(table, "key", "d.key = ? AND d.value = ?", {key, *value}, true);
  return on_row(table, "key", "d.key = ?", {key}, false);
}

std::string_view operator_of(Comparison comparison) {
  switch (comparison) {
    case Comparison::kEqual:
      return " = ?";
    case Comparison::kNotEqual:
      return " IS NOT ?";  // of what is not comparable, too
    case Comparison::kLess:
      return " < ?";
    case Comparison::kAtMost:
      return " <= ?";
    case Comparison::kGreater:
      return " > ?";
    default:
      return " >= ?";
  }
}

SqlValue sql_value(const Number& number) {
  return std::visit([](auto value) { return SqlValue(value); }, number);
}

Condition on_parameter(const ParameterFilter& filter) {
  if (!filter.is) return on_row("parameter", "value", "d.key = ?", {filter.key}, false);
  const Comparison comparison = filter.is->comparison;
  const std::string test(operator_of(comparison));
  const bool sorted = comparison == Comparison::kEqual;
  const auto number = number_of(filter.is->value);
  if (!number)
    return on_row("parameter", "value", "d.key = ? AND d.value" + test, {filter.key, filter.is->value}, sorted);
  return on_row("parameter", "number", "d.key = ? AND d.number" + test, {filter.key, sql_value(*number)}, sorted);
}

Condition on_metric(const MetricFilter& filter) {
  const bool of_last = filter.field == MetricFilter::Field::kLast;
  const std::string column = of_last ? "last" : filter.field == MetricFilter::Field::kMinimum ? "minimum" : "maximum";
  std::string where = "d.name = ?";
  if (!filter.is) {
    if (!of_last) where += " AND d." + column + " IS NOT NULL";
    return on_row("metric_series", column, where, {filter.name}, false);
  }
  const Comparison comparison = filter.is->comparison;
  const bool sorted = comparison == Comparison::kEqual;
  const auto number = number_of(filter.is->value);
  if (!number && !of_last)
    throw Error(ErrorCode::kInvalid,
                "metric: '" + filter.is->value + "' is no number, as the least and the greatest value of a metric are");
  where += " AND d." + column + std::string(operator_of(comparison));
  const bool above = comparison == Comparison::kGreater || comparison == Comparison::kAtLeast;
  const bool below = comparison == Comparison::kLess || comparison == Comparison::kAtMost;
  // SQLite sorts every text behind every number.
  if (of_last && number && above) where += " AND d.last < ''";
  if (of_last && !number && below) where += " AND d.last >= ''";
  return on_row("metric_series", column, where, {filter.name, number ? sql_value(*number) : SqlValue(filter.is->value)},
                sorted);
}

// As FTS5 takes it: one phrase, letter for letter.
std::string phrase_of(const std::string& text) {
  constexpr std::size_t kFewest = 3;  // letters: what the index is made of
  const auto letters = std::count_if(text.begin(), text.end(), [](char c) { return (c & '\xc0') != '\x80'; });
  if (static_cast<std::size_t>(letters) < kFewest || text.find('\0') != std::string::npos)
    throw Error(ErrorCode::kInvalid, "text: '" + text + "' has fewer than three letters",
                "runs are found by three letters or more of their id, name, script or tags");
  std::string phrase = "\"";
  for (const char c : text) phrase.append(c == '"' ? 2 : 1, c);
  return phrase + "\"";
}

Condition on_text(const std::string& text) {
  return {.from = "run_text d",
          .join = " CROSS JOIN run r ON r.seq = d.rowid",
          .where = "d.run_text MATCH ?",
          .order = "d.rowid",
          .filter = "EXISTS (SELECT 1 FROM run_text d WHERE d.rowid = r.seq AND d.run_text MATCH ?)",
          .values = {phrase_of(text)},
          .sorted = true};
}

Condition on_descendants(std::int64_t parent) {
  const std::string tree =
      "(WITH RECURSIVE tree(seq) AS (SELECT c.seq FROM run c INDEXED BY run_by_parent WHERE c.parent = ?"
      " UNION ALL SELECT c.seq FROM tree CROSS JOIN run c INDEXED BY run_by_parent ON c.parent = tree.seq"
      " WHERE +c.seq > tree.seq) SELECT seq FROM tree)";
  return {.from = tree + " d",
          .join = " CROSS JOIN run r ON r.seq = d.seq",
          .where = "true",
          .order = "d.seq",
          .filter = "r.seq IN " + tree,
          .values = {parent},
          .sorted = false};
}

std::optional<Condition> on_time(const RunFilter& filter) {
  const auto value = [](UtcTime time) { return SqlValue(std::int64_t{time.time_since_epoch().count()}); };
  if (filter.since && filter.until)
    return on_run("created", " BETWEEN ? AND ?", {value(*filter.since), value(*filter.until)}, false);
  if (filter.since) return on_run("created", " >= ?", {value(*filter.since)}, false);
  if (filter.until) return on_run("created", " <= ?", {value(*filter.until)}, false);
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<Condition>> conditions_of(Connection& connection, const RunFilter& filter) {
  std::vector<Condition> conditions;
  if (filter.experiment) {
    Query query = connection.query("SELECT id FROM experiment WHERE name = ?", *filter.experiment);
    if (!query.next()) return std::nullopt;
    conditions.push_back(on_run("experiment", " = ?", {query.integer(0)}));
  }
  if (filter.status) conditions.push_back(on_run("status", " = ?", {std::string(to_string(*filter.status))}));
  if (filter.kind) conditions.push_back(on_run("kind", " = ?", {std::string(to_string(*filter.kind))}));
  for (const auto& [key, value] : filter.tags) conditions.push_back(on_pair("tag", key, value));
  for (const auto& [key, value] : filter.properties) conditions.push_back(on_pair("property", key, value));
  for (const ParameterFilter& parameter : filter.parameters) conditions.push_back(on_parameter(parameter));
  for (const MetricFilter& metric : filter.metrics) conditions.push_back(on_metric(metric));
  if (filter.text) conditions.push_back(on_text(*filter.text));
  if (filter.parent && filter.recursive)
    conditions.push_back(on_descendants(seq_of(connection, *filter.parent)));
  else if (filter.parent)
    conditions.push_back(on_run("parent", " = ?", {seq_of(connection, *filter.parent)}));
  else if (!filter.include_children)
    conditions.push_back(on_run("parent", " IS NULL", {}));
  if (auto time = on_time(filter)) conditions.push_back(std::move(*time));
  // Among equally frequent ones the first drives: one that needs no sorting.
  std::stable_partition(conditions.begin(), conditions.end(), [](const Condition& c) { return c.sorted; });
  return conditions;
}

Statement statement_of(const std::vector<Condition>& conditions, std::optional<std::int64_t> before,
                       std::int64_t limit) {
  Statement statement;
  std::string& sql = statement.sql;
  const std::string order = conditions.empty() ? "seq" : conditions.front().order;
  if (conditions.empty()) {
    sql = "SELECT seq FROM run WHERE true";
  } else {
    const Condition& driver = conditions.front();
    sql = "SELECT " + driver.order + " FROM " + driver.from + driver.join + " WHERE " + driver.where;
    for (std::size_t i = 1; i < conditions.size(); ++i) sql += " AND " + conditions[i].filter;
  }
  for (const Condition& condition : conditions)
    statement.values.insert(statement.values.end(), condition.values.begin(), condition.values.end());
  if (before) {
    sql += " AND " + order + " < ?";
    statement.values.emplace_back(*before);
  }
  sql += " ORDER BY " + order + " DESC LIMIT ?";
  statement.values.emplace_back(limit);
  return statement;
}

Query query_of(Connection& connection, const Statement& statement) {
  Query query = connection.query_once(statement.sql);
  int index = 0;
  for (const SqlValue& value : statement.values) {
    ++index;
    std::visit([&](const auto& v) { query.bind(index, v); }, value);
  }
  return query;
}

}  // namespace runner::store
