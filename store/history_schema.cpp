#include "store/history_schema.hpp"

#include <array>
#include <string>

#include "embedded/attempt_schema.hpp"
#include "embedded/environment_schema.hpp"
#include "embedded/history_schema.hpp"
#include "embedded/queue_schema.hpp"
#include "embedded/tracking_indices.hpp"
#include "embedded/tracking_schema.hpp"
#include "runner/core/error.hpp"
#include "store/history_rows.hpp"
#include "store/ledger.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

constexpr int kSchemaVersion = 5;

// Version 5: what the runs that are there were told and are found by, and how those ended that have.
void take_up_runs(Connection& connection) {
  const Sha256 sha256;
  const UtcTime now = utc_now();
  for (Query run = connection.query("SELECT r.seq, s.definition FROM run r LEFT JOIN submission s ON s.run = r.seq"
                                    " ORDER BY r.seq");
       run.next();) {
    RunDefinition definition;
    try {
      if (!run.is_null(1)) definition = definition_from_json(run.text(1));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInternal) throw;  // one that is damaged is `fsck`'s to tell
    }
    insert_parameters(connection, run.integer(0), definition);
    insert_words(connection, run.integer(0), definition);
  }
  for (Query run = connection.query("SELECT seq FROM run WHERE ended IS NOT NULL ORDER BY seq"); run.next();)
    record_in_ledger(connection, sha256, run.integer(0), LedgerKind::kFinal, now);
}

constexpr std::array kMigrations{Migration{2, "environments", embedded::environment_schema},
                                 Migration{3, "the order of the queue", embedded::queue_schema},
                                 Migration{4, "attempts", embedded::attempt_schema},
                                 Migration{5, "children, tables and the ledger", embedded::tracking_schema,
                                           take_up_runs, embedded::tracking_indices}};

}  // namespace

// A new file begins as if it had been made by the first version and gone through all that came since.
Schema history_schema() {
  static const std::string current = std::string(embedded::history_schema) + std::string(embedded::environment_schema) +
                                     std::string(embedded::queue_schema) + std::string(embedded::attempt_schema) +
                                     std::string(embedded::tracking_schema) + std::string(embedded::tracking_indices);
  return {"runner.db", 0x52756e52 /* "RunR" */, kSchemaVersion, current, kMigrations};
}

}  // namespace runner::store
