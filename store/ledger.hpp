// The ledger of runner.db: an append-only chain that says what each ended run was, that something was added to it, that
// it was deleted (tracking_schema.sql). Who edits a final record without it is found by `fsck`; who also rewrites the
// chain has another head than the one that was noted down.
#pragma once

#include <cstdint>
#include <string_view>

#include "runner/core/content.hpp"
#include "runner/core/time.hpp"
#include "store/digest.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {

enum class LedgerKind { kFinal, kAmended, kDeleted };
std::string_view to_string(LedgerKind kind);  // "final", "amended", "deleted"

struct LedgerHead {
  std::int64_t entries = 0;
  Hash hash;  // zero while there is none
};
LedgerHead ledger_head(Connection& connection);

// An entry about the run as it is now: in the transaction that made it so; of a deletion before it.
void record_in_ledger(Connection& connection, const Sha256& sha256, std::int64_t seq, LedgerKind kind, UtcTime time);

Hash ledger_hash(const Sha256& sha256, const Hash& previous, std::string_view kind, std::string_view run_id,
                 const Hash& digest);

}  // namespace runner::store
