#include "store/sql_long_texts.hpp"

#include <sqlite3.h>

#include <memory>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

constexpr int kLiftedBytes = 64 << 20;  // beyond what a request can have brought in

void set_limit(sqlite3_context* context, int bytes) {
  sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LENGTH, bytes);
}

// Evaluated before the column that stands behind it: arguments are, from left to right.
void lift(sqlite3_context* context, int, sqlite3_value**) { set_limit(context, kLiftedBytes); }

void shown_text(sqlite3_context* context, int, sqlite3_value** values) {
  set_limit(context, *static_cast<const int*>(sqlite3_user_data(context)));
  const int type = sqlite3_value_type(values[1]);
  const bool is_long =
      (type == SQLITE_TEXT || type == SQLITE_BLOB) && sqlite3_value_bytes(values[1]) > kLongestShownText;
  if (!is_long) sqlite3_result_value(context, values[1]);  // else NULL
}

}  // namespace

void add_long_text_functions(sqlite3* handle, const std::string& prefix, int limit) {
  // Not SQLITE_DETERMINISTIC: SQLite would evaluate lift() once, ahead of all rows.
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
  const auto forget = [](void* data) { std::unique_ptr<int>(static_cast<int*>(data)).reset(); };
  auto given = std::make_unique<int>(limit);
  // SQLite forgets what it was given, also where it fails.
  if (sqlite3_create_function_v2(handle, (prefix + "lift").c_str(), 0, kFlags, nullptr, lift, nullptr, nullptr,
                                 nullptr) != SQLITE_OK ||
      sqlite3_create_function_v2(handle, (prefix + "text").c_str(), 2, kFlags, given.release(), shown_text, nullptr,
                                 nullptr, forget) != SQLITE_OK)
    throw Error(ErrorCode::kInternal, std::string("sql: the views: ") + sqlite3_errmsg(handle));
}

}  // namespace runner::store
