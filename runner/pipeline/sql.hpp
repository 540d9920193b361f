// Questions in SQL, for runner/daemon. Any thread.
#pragma once

#include <string>

#include "runner/os/data_directory.hpp"
#include "store/sql_query.hpp"

namespace runner::pipeline {

// store/sql_query.hpp says what it may and throws.
inline store::SqlAnswer answer_sql(const os::DataDirectory& data, const std::string& query,
                                   const store::SqlLimits& limits) {
  return store::answer_sql(data.history_database(), query, limits);
}

}  // namespace runner::pipeline
