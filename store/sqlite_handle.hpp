// One SQLite connection and its statements: the only door to libsqlite3 in this folder, and where its errors become
// Error. A connection is used by one thread at a time; who that is, GroupCommit (writer) and ReaderPool (readers)
// decide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace runner::store {

class Connection;

// A blob that is not copied: it must live until the query has been stepped for the last time.
struct BorrowedBlob {
  std::span<const std::byte> bytes;
};

enum class ColumnType { kNull, kInteger, kReal, kText, kBlob };

// A statement in use; returns to its connection's cache, reset, when it goes out of scope.
class Query {
 public:
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;
  ~Query();

  // Parameters count from 1. Text and hashes are copied.
  void bind(int index, std::int64_t value);
  void bind(int index, int value) { bind(index, static_cast<std::int64_t>(value)); }
  void bind(int index, double value);  // NaN becomes NULL
  void bind(int index, std::string_view value);
  void bind(int index, const char* value) { bind(index, std::string_view(value)); }
  void bind(int index, const std::string& value) { bind(index, std::string_view(value)); }
  void bind(int index, const Hash& value);
  void bind(int index, UtcTime value) { bind(index, std::int64_t{value.time_since_epoch().count()}); }
  void bind(int index, BorrowedBlob value);
  void bind(int index, std::nullopt_t);
  void bind_copy(int index, std::span<const std::byte> blob);
  template <class T>
  void bind(int index, const std::optional<T>& value) {
    if (value)
      bind(index, *value);
    else
      bind(index, std::nullopt);
  }

  bool next();    // false: no more rows
  void rewind();  // to be run again, with the values that are bound anew

  // Columns count from 0; views are valid until the next call of `next`.
  ColumnType type(int column) const;
  bool is_null(int column) const { return type(column) == ColumnType::kNull; }
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;
  std::string string(int column) const { return std::string(text(column)); }
  std::span<const std::byte> blob(int column) const;
  Hash hash(int column) const;
  UtcTime time(int column) const { return UtcTime(std::chrono::microseconds(integer(column))); }

 private:
  friend class Connection;
  struct Statement;
  Query(Connection& connection, Statement& cached);
  Query(Connection& connection, std::unique_ptr<Statement> own);

  Connection* connection_;
  Statement* statement_;
  std::unique_ptr<Statement> own_;
};

class Damage;

class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  // Errors name the file; kInternal with the hint `runner fsck` for a damaged one.
  // What is found wrong with the file is told `damage`, too.
  Connection(const std::filesystem::path& path, Mode mode, Damage* damage = nullptr);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void execute(const std::string& script);  // any number of statements without parameters

  // Prepared once per connection and text.
  template <class... Values>
  Query query(std::string_view sql, const Values&... values) {
    Query query = cached(sql);
    [[maybe_unused]] int index = 0;
    (query.bind(++index, values), ...);
    return query;
  }
  // Runs to the end; how many rows it changed.
  template <class... Values>
  std::int64_t run(std::string_view sql, const Values&... values) {
    query(sql, values...).next();
    return changes();
  }
  Query query_once(std::string_view sql);  // for text put together from a filter: not kept

  std::int64_t last_insert_id() const;
  bool in_transaction() const;
  // A commit that makes the WAL as long as so many pages copies it into the file, as SQLite's wal_autocheckpoint does;
  // but what goes wrong is told `damage`: the sync's error is told once, and the next sync would look like a success.
  void checkpoint_from(int pages);
  bool checkpoint();      // copies the WAL into the file, syncs it and empties the WAL; false if that failed
  void release_memory();  // drops the page cache

 private:
  friend class Query;
  [[noreturn]] void fail(int result) const;
  void tell(int result, const Error& error) const;
  bool checkpoint(int mode);
  Query cached(std::string_view sql);
  std::int64_t changes() const;
  std::unique_ptr<Query::Statement> prepare(std::string_view sql, bool persistent);

  std::string file_;
  Damage* const damage_;
  int checkpoint_pages_ = 0;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> handle_;
  std::unordered_map<std::string, std::unique_ptr<Query::Statement>> statements_;
};

}  // namespace runner::store
