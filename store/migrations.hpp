// Which schema a database file has, and how it becomes the present one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace runner::store {

class Connection;

struct Migration {
  int version;            // the schema after it
  std::string_view name;  // for the error message
  std::string_view sql;
  // Afterwards, in the same transaction: what SQL cannot say of the rows that are there, and what is to be done last.
  void (*rows)(Connection& connection) = nullptr;
  std::string_view last_sql = {};
};

struct Schema {
  std::string_view file;             // "runner.db", for messages
  std::int32_t application_id;       // in the file's header; file(1) shows it
  int version;                       // of `current`
  std::string_view current;          // creates everything in an empty file: "create the schema", which is migration 1
  std::span<const Migration> steps;  // from version 1 on, ascending; the last one leads to `version`
};

// The file's schema version, 0 if it is empty. Error(kConflict) for a newer one or a file of another program; reads
// only.
int refuse_foreign(Connection& connection, const Schema& schema);
// Creates or migrates, each step in a transaction of its own.
void migrate(Connection& connection, const Schema& schema);

}  // namespace runner::store
