#include "store/migrations.hpp"

#include "runner/core/error.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {
namespace {

std::int64_t pragma(Connection& connection, std::string_view sql) {
  Query query = connection.query_once(sql);
  return query.next() ? query.integer(0) : 0;
}

bool is_empty(Connection& connection) { return pragma(connection, "SELECT count(*) FROM sqlite_master") == 0; }

void apply(Connection& connection, const Schema& schema, const Migration& migration) {
  try {
    connection.execute("BEGIN IMMEDIATE");
    connection.execute(std::string(migration.sql));
    if (migration.rows != nullptr) migration.rows(connection);
    connection.execute(std::string(migration.last_sql));
    connection.execute("PRAGMA application_id=" + std::to_string(schema.application_id));
    connection.execute("PRAGMA user_version=" + std::to_string(migration.version));
    connection.execute("COMMIT");
  } catch (const Error& error) {
    if (connection.in_transaction()) connection.execute("ROLLBACK");
    throw error.within("migration " + std::to_string(migration.version) + " (" + std::string(migration.name) + ")");
  }
}

}  // namespace

int refuse_foreign(Connection& connection, const Schema& schema) {
  const std::int64_t version = pragma(connection, "PRAGMA user_version");
  const std::int64_t application = pragma(connection, "PRAGMA application_id");
  const std::string file(schema.file);
  const bool ours = application == schema.application_id || (application == 0 && version == 0 && is_empty(connection));
  if (!ours) throw Error(ErrorCode::kConflict, file + " is a database of another program", "choose another --home");
  if (version > schema.version)
    throw Error(ErrorCode::kConflict,
                file + " has schema version " + std::to_string(version) + ", this program knows version " +
                    std::to_string(schema.version),
                "it was written by a newer runner: install that version again, or choose another --home");
  return static_cast<int>(version);
}

void migrate(Connection& connection, const Schema& schema) {
  const std::int64_t version = pragma(connection, "PRAGMA user_version");
  if (version == 0) {
    apply(connection, schema, {schema.version, "create the schema", schema.current});
    return;
  }
  for (const Migration& step : schema.steps)
    if (step.version > version) apply(connection, schema, step);
}

}  // namespace runner::store
