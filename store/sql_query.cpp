#include "store/sql_query.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "embedded/views_schema.hpp"
#include "runner/core/error.hpp"
#include "store/sql_long_texts.hpp"
#include "store/sql_text.hpp"

namespace runner::store {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<std::string_view, 13> kViews{
    "artifacts", "attempts", "environments", "experiments", "ledger", "metric_points", "metric_rows",
    "metrics",   "notices",  "parameters",   "properties",  "runs",   "tags"};

constexpr std::string_view kInner = "inner_";  // of views_schema.sql
constexpr int kBusyMs = 2000;
constexpr int kLookEvery =
    50;  // steps of SQLite's machine, some microseconds; each may make a text of the longest kind
// Longer texts are refused: instr(), trim() and LIKE of two of them look at each pair of bytes, and nothing can end
// them.
constexpr int kLongestText = 256 << 10;

const char* const kViewsHint =
    "runs, tags, properties, parameters, metrics, metric_points, metric_rows, artifacts, notices, attempts,"
    " environments, experiments and ledger can be read; docs/sql.md has their columns";

enum class Stop { kNone, kTime, kMemory, kTold };

// What the callbacks of one query see.
struct Watched {
  const SqlLimits& limits;
  const std::string secret;  // what the names of the inner views begin with
  const Clock::time_point deadline;
  const std::int64_t most_memory;  // of all of the process
  Stop stop = Stop::kNone;
  bool refused = false;

  bool may_go_on() {
    if (stop != Stop::kNone) return false;
    if (Clock::now() >= deadline)
      stop = Stop::kTime;
    else if (sqlite3_memory_used() > most_memory)
      stop = Stop::kMemory;
    else if (limits.go_on && !limits.go_on())
      stop = Stop::kTold;
    return stop == Stop::kNone;
  }
};

std::string random_name() {
  std::random_device random;
  std::string name = "v";
  constexpr std::string_view kLetters = "abcdefghijklmnop";
  for (int word = 0; word < 4; ++word)
    for (unsigned bits = random(), letter = 0; letter < 8; ++letter, bits >>= 4) name += kLetters[bits & 15U];
  return name;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string same_case(const char* text) {
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return name;
}

bool is_view(const char* name) { return std::binary_search(kViews.begin(), kViews.end(), same_case(name)); }

// Asked by SQLite for each thing that a statement would do, while it is prepared. `inside`: the innermost view, or what
// a WITH of the query calls so: only a name that nobody knows says that it is one of ours.
bool may_read(const Watched& watched, const char* table, const char* column, const char* database, const char* inside) {
  if (column == nullptr || *column == '\0') return true;  // that it is there; no value of it
  const std::string_view of = database == nullptr ? "" : database;
  if (inside != nullptr && std::string_view(inside).starts_with(watched.secret)) return true;
  if (of == "temp") return is_view(table) || std::string_view(table).starts_with(watched.secret);
  const std::string name = same_case(table);
  return name == "json_each" || name == "json_tree";
}

bool may_call(const char* function) {
  const std::string name = same_case(function);
  return name != "load_extension" && !name.starts_with("sqlite_") && !name.starts_with("fts") &&
         !name.starts_with("rtree");
}

int authorize(void* context, int action, const char* first, const char* second, const char* database,
              const char* inside) {
  auto& watched = *static_cast<Watched*>(context);
  bool allowed = false;
  if (action == SQLITE_SELECT || action == SQLITE_RECURSIVE)
    allowed = watched.may_go_on();
  else if (action == SQLITE_READ && first != nullptr)
    allowed = may_read(watched, first, second, database, inside) && watched.may_go_on();
  else if (action == SQLITE_FUNCTION && second != nullptr)
    allowed = may_call(second);
  if (!allowed) watched.refused = true;
  return allowed ? SQLITE_OK : SQLITE_DENY;
}

int look(void* context) { return static_cast<Watched*>(context)->may_go_on() ? 0 : 1; }

// Words of SQLite's, without the names that are ours.
std::string words_of(sqlite3* handle, const Watched& watched) {
  return replaced(sqlite3_errmsg(handle), watched.secret, "");
}

Error stopped(const Watched& watched) {
  if (watched.stop == Stop::kTime)
    return Error(ErrorCode::kInvalid,
                 "sql: the query takes longer than " +
                     std::to_string(std::chrono::duration_cast<std::chrono::seconds>(watched.limits.time).count()) +
                     " s",
                 "ask for less, or in several queries");
  if (watched.stop == Stop::kMemory)
    return Error(
        ErrorCode::kInvalid,
        "sql: the query takes more than " + std::to_string(watched.limits.memory_bytes >> 20) + " MB of memory",
        "ask for less: what is sorted or grouped is held in memory");
  return Error(ErrorCode::kUnavailable, "sql: the query was given up", "ask again");
}

Error error_of(sqlite3* handle, int result, const Watched& watched) {
  if (watched.stop != Stop::kNone) return stopped(watched);
  const std::string words = "sql: " + words_of(handle, watched);
  switch (result & 0xff) {
    case SQLITE_AUTH:
      return Error(ErrorCode::kPermission, words, kViewsHint);
    case SQLITE_READONLY:
      return Error(ErrorCode::kPermission, words, "the history can only be read");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
      return Error(ErrorCode::kInternal, words, "`runner fsck` says what is damaged");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
      return Error(ErrorCode::kUnavailable, words, "ask again");
    case SQLITE_TOOBIG:
      return Error(ErrorCode::kInvalid, words, "a text of more than 256 KiB cannot be asked for, nor made");
    default:
      if (watched.refused) return Error(ErrorCode::kPermission, words, kViewsHint);
      return Error(ErrorCode::kInvalid, words, words.find("no such table") != std::string::npos ? kViewsHint : "");
  }
}

struct CloseStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, CloseStatement>;
struct CloseHandle {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
using Handle = std::unique_ptr<sqlite3, CloseHandle>;

void make_views(sqlite3* handle, const Watched& watched) {
  std::string script = replaced(std::string(embedded::views_schema), kInner, watched.secret);
  for (const std::string_view view : kViews) {
    const std::string name(view);
    script += "CREATE TEMP VIEW " + name + " AS SELECT * FROM temp." + watched.secret + name + ";";
  }
  if (const int result = sqlite3_exec(handle, script.c_str(), nullptr, nullptr, nullptr))
    throw Error(ErrorCode::kInternal,
                "sql: the views: " + words_of(handle, watched) + " (" + std::to_string(result) + ")");
}

Handle open(const std::filesystem::path& database, Watched& watched) {
  sqlite3* opened = nullptr;
  const int result = sqlite3_open_v2(database.c_str(), &opened,
                                     SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Handle handle(opened);
  if (result != SQLITE_OK) throw error_of(opened, result, watched);
  sqlite3_busy_timeout(opened, kBusyMs);
  int stay = 1;  // as every connection: sqlite_handle.cpp
  sqlite3_file_control(opened, "main", SQLITE_FCNTL_PERSIST_WAL, &stay);
  sqlite3_exec(opened, "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-2048; PRAGMA trusted_schema=OFF;", nullptr,
               nullptr, nullptr);
  add_long_text_functions(opened, watched.secret, kLongestText);
  make_views(opened, watched);
  // Made once, with what the authorizer would take for a CREATE TABLE.
  sqlite3_exec(opened, "SELECT 1 FROM json_each('[]'), json_tree('[]')", nullptr, nullptr, nullptr);
  // From here on nothing is written, not even to what is temporary, and names in "" are names.
  sqlite3_exec(opened, "PRAGMA query_only=ON;", nullptr, nullptr, nullptr);
  for (const auto& [what, on] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                 {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
                                 {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
                                 {SQLITE_DBCONFIG_DQS_DML, 0},
                                 {SQLITE_DBCONFIG_DQS_DDL, 0}})
    sqlite3_db_config(opened, what, on, nullptr);
  for (const auto& [what, most] : {std::pair{SQLITE_LIMIT_LENGTH, kLongestText},
                                   {SQLITE_LIMIT_SQL_LENGTH, kLongestText},
                                   {SQLITE_LIMIT_COLUMN, 500},
                                   {SQLITE_LIMIT_EXPR_DEPTH, 200},
                                   {SQLITE_LIMIT_COMPOUND_SELECT, 50},
                                   {SQLITE_LIMIT_VDBE_OP, 250'000},
                                   {SQLITE_LIMIT_ATTACHED, 0},
                                   {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
                                   {SQLITE_LIMIT_VARIABLE_NUMBER, 0},
                                   {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
                                   {SQLITE_LIMIT_WORKER_THREADS, 0}})
    sqlite3_limit(opened, what, most);
  sqlite3_set_authorizer(opened, authorize, &watched);
  sqlite3_progress_handler(opened, kLookEvery, look, &watched);
  return handle;
}

Statement prepare(sqlite3* handle, const std::string& query, Watched& watched) {
  const char* rest = query.c_str();
  Statement statement;
  while (*rest != '\0') {
    sqlite3_stmt* prepared = nullptr;
    const int result = sqlite3_prepare_v2(handle, rest, -1, &prepared, &rest);
    Statement next(prepared);
    if (statement && (next || result != SQLITE_OK))
      throw Error(ErrorCode::kInvalid, "sql: more than one statement", "ask one SELECT at a time");
    if (result != SQLITE_OK) throw error_of(handle, result, watched);
    if (next) statement = std::move(next);
  }
  if (!statement) throw Error(ErrorCode::kInvalid, "sql: the query is empty", "SELECT … FROM runs");
  // The authorizer has said so already; this says it once more, of the whole.
  if (sqlite3_stmt_readonly(statement.get()) == 0 || sqlite3_stmt_isexplain(statement.get()) != 0 ||
      sqlite3_column_count(statement.get()) == 0)
    throw Error(ErrorCode::kPermission, "sql: only a SELECT is answered", kViewsHint);
  return statement;
}

std::vector<std::string> columns_of(sqlite3_stmt* statement, const Watched& watched) {
  std::vector<std::string> columns;
  std::set<std::string> taken;
  for (int i = 0; i < sqlite3_column_count(statement); ++i) {
    const char* given = sqlite3_column_name(statement, i);
    const std::string name = replaced(given == nullptr ? "" : given, watched.secret, "");
    std::string unique = name;
    for (int number = 1; !taken.insert(unique).second; ++number) unique = name + ":" + std::to_string(number);
    columns.push_back(std::move(unique));
  }
  return columns;
}

SqlCell cell_of(sqlite3_stmt* statement, int column) {
  const auto bytes = [&](const void* data) {
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
  };
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_TEXT:
      return bytes(sqlite3_column_text(statement, column));
    case SQLITE_BLOB:
      return SqlBlob{bytes(sqlite3_column_blob(statement, column))};
    default:
      return std::monostate{};
  }
}

std::size_t size_of(const SqlCell& cell) {
  constexpr std::size_t kNumber = 24;  // bytes, about
  if (const auto* text = std::get_if<std::string>(&cell)) return text->size() + kNumber;
  if (const auto* blob = std::get_if<SqlBlob>(&cell)) return 2 * blob->bytes.size() + kNumber;
  return kNumber;
}

}  // namespace

std::vector<std::string> sql_views() { return {kViews.begin(), kViews.end()}; }

SqlAnswer answer_sql(const std::filesystem::path& database, const std::string& query, const SqlLimits& limits) {
  check_sql_text(query);
  Watched watched{.limits = limits,
                  .secret = random_name(),
                  .deadline = Clock::now() + limits.time,
                  .most_memory = sqlite3_memory_used() + limits.memory_bytes};
  const Handle handle = open(database, watched);
  const Statement statement = prepare(handle.get(), query, watched);
  SqlAnswer answer{.columns = columns_of(statement.get(), watched), .rows = {}};
  std::size_t bytes = 0;
  for (;;) {
    const int result = sqlite3_step(statement.get());
    if (result == SQLITE_DONE) return answer;
    if (result != SQLITE_ROW) throw error_of(handle.get(), result, watched);
    if (static_cast<std::int64_t>(answer.rows.size()) >= limits.rows) {
      answer.truncated = true;
      return answer;
    }
    auto& row = answer.rows.emplace_back();
    for (int i = 0; i < static_cast<int>(answer.columns.size()); ++i) {
      row.push_back(cell_of(statement.get(), i));
      bytes += size_of(row.back());
    }
    if (bytes > limits.answer_bytes)
      throw Error(ErrorCode::kInvalid,
                  "sql: the answer is larger than " + std::to_string(limits.answer_bytes >> 20) + " MB",
                  "ask for fewer rows or columns");
  }
}

}  // namespace runner::store
