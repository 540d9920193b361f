// What a filter asks of runs, as pieces of SQL; private to history_list.cpp and the test that reads their plans.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "store/run_filter.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {

using SqlValue = std::variant<std::int64_t, double, std::string>;

struct Condition {
  std::string from;    // driving: the table with its index…
  std::string join;    // …what leads from there to `run r`…
  std::string where;   // …and the condition that an index answers
  std::string order;   // the column that says seq there
  std::string filter;  // checking a row of `run r`
  std::vector<SqlValue> values;
  bool sorted;  // the index yields seq in order: a limit ends the search early
};

// Nothing if the filter names an experiment that does not exist. Error(kNotFound) for a parent that does not, kInvalid
// for what cannot be looked for.
std::optional<std::vector<Condition>> conditions_of(Connection& connection, const RunFilter& filter);

// The numbers of runs, newest first; the first condition drives.
struct Statement {
  std::string sql;
  std::vector<SqlValue> values;
};
Statement statement_of(const std::vector<Condition>& conditions, std::optional<std::int64_t> before,
                       std::int64_t limit);
Query query_of(Connection& connection, const Statement& statement);

}  // namespace runner::store
