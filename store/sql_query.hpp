// One SELECT of a user's over the documented views of runner.db (views_schema.sql, docs/sql.md). Nothing of it can
// write, read anything else, or go on for ever. Any thread.
//
// What stands in the way, from the outside in:
//   the text       one statement; so many names that what SQLite makes of nested ones stays small (sql_text.hpp)
//   the file       opened to be read only, by a connection of its own that is closed afterwards
//   an authorizer  asked by SQLite while it prepares the statement: views and json_each; no PRAGMA, ATTACH, transaction
//   limits         of a text's length, an expression's depth, what is compared; of time and memory, looked at all the
//   time
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace runner::store {

struct SqlBlob {
  std::string bytes;
  bool operator==(const SqlBlob&) const = default;
};
using SqlCell = std::variant<std::monostate, std::int64_t, double, std::string, SqlBlob>;  // NULL first

struct SqlAnswer {
  std::vector<std::string> columns;  // each once: a second "id" is "id:1"
  std::vector<std::vector<SqlCell>> rows;
  bool truncated = false;  // there are more rows
};

struct SqlLimits {
  std::int64_t rows = 1000;
  std::chrono::milliseconds time{10'000};
  std::int64_t memory_bytes = 256 << 20;  // that SQLite may take beyond what it has
  std::size_t answer_bytes = 32 << 20;    // of texts
  std::function<bool()> go_on{};          // asked all the time; false: give up. Must not throw
};

// The names of the views, sorted.
std::vector<std::string> sql_views();

// Error(kInvalid) for what is no such SELECT, with SQLite's words, or takes more than it may; kPermission for what it
// may not do or read; kUnavailable when `go_on` says no; kInternal for a damaged file.
SqlAnswer answer_sql(const std::filesystem::path& database, const std::string& query, const SqlLimits& limits);

}  // namespace runner::store
