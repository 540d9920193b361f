// What can be said of a query before SQLite sees it. SQLite copies what WITH names once for each of its uses, those in
// other such definitions included, and goes into each by recursion, before it asks anybody: thirty lines can stand for
// a billion. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace runner::store {

struct SqlTextLimits {
  std::size_t bytes = 64 << 10;
  std::size_t depth = 40;        // of parentheses
  std::size_t definitions = 16;  // by WITH
  std::size_t copies = 10'000;   // the product of how often each definition is used
};

// Error(kInvalid) saying which limit it breaks, or that it holds a NUL.
void check_sql_text(std::string_view query, const SqlTextLimits& limits = {});

}  // namespace runner::store
