#include "store/ledger.hpp"

#include <span>
#include <string>

#include "store/run_digest.hpp"

namespace runner::store {

std::string_view to_string(LedgerKind kind) {
  switch (kind) {
    case LedgerKind::kFinal:
      return "final";
    case LedgerKind::kAmended:
      return "amended";
    default:
      return "deleted";
  }
}

LedgerHead ledger_head(Connection& connection) {
  Query last = connection.query("SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1");
  if (!last.next()) return {};
  return {.entries = last.integer(0), .hash = last.hash(1)};
}

Hash ledger_hash(const Sha256& sha256, const Hash& previous, std::string_view kind, std::string_view run_id,
                 const Hash& digest) {
  Sha256::Stream stream(sha256);
  stream.update(std::as_bytes(std::span(previous.bytes)));
  stream.update(std::as_bytes(std::span(kind)));
  stream.update(std::as_bytes(std::span(run_id)));
  stream.update(std::as_bytes(std::span(digest.bytes)));
  return stream.finish();
}

void record_in_ledger(Connection& connection, const Sha256& sha256, std::int64_t seq, LedgerKind kind, UtcTime time) {
  const LedgerHead head = ledger_head(connection);
  const Hash digest = digest_of_run(connection, sha256, seq);
  std::string id;
  {
    Query query = connection.query("SELECT id FROM run WHERE seq = ?", seq);
    if (query.next()) id = query.string(0);
  }
  connection.run("INSERT INTO ledger(number, run_id, kind, digest, previous, hash, time) VALUES (?, ?, ?, ?, ?, ?, ?)",
                 head.entries + 1, id, to_string(kind), digest, head.hash,
                 ledger_hash(sha256, head.hash, to_string(kind), id, digest), time);
}

}  // namespace runner::store
