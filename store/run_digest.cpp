#include "store/run_digest.hpp"

#include <nlohmann/json.hpp>

#include "store/history_rows.hpp"

namespace runner::store {
namespace {

using Json = nlohmann::json;  // its keys are sorted

Json text_at(const Query& row, int column) { return row.is_null(column) ? Json() : Json(row.string(column)); }
Json integer_at(const Query& row, int column) { return row.is_null(column) ? Json() : Json(row.integer(column)); }
Json real_at(const Query& row, int column) { return row.is_null(column) ? Json() : Json(row.real(column)); }
Json hash_at(const Query& row, int column) { return row.is_null(column) ? Json() : Json(row.hash(column).hex()); }

Json columns_of_run(Connection& connection, std::int64_t seq) {
  Query row = connection.query(
      "SELECT r.id, e.name, p.id, r.status, r.status_reason, r.created, r.started, r.ended, r.attempt, r.priority,"
      " r.snapshot, r.idempotency_key, r.environment, r.outcome, r.error, r.kind, s.digest, s.definition, s.git"
      " FROM run r LEFT JOIN experiment e ON e.id = r.experiment LEFT JOIN submission s ON s.run = r.seq"
      " LEFT JOIN run p ON p.seq = r.parent WHERE r.seq = ?",
      seq);
  if (!row.next()) throw no_such_run("#" + std::to_string(seq));
  return {{"id", text_at(row, 0)},           {"experiment", text_at(row, 1)},   {"parent", text_at(row, 2)},
          {"status", text_at(row, 3)},       {"statusReason", text_at(row, 4)}, {"created", integer_at(row, 5)},
          {"started", integer_at(row, 6)},   {"ended", integer_at(row, 7)},     {"attempt", integer_at(row, 8)},
          {"priority", integer_at(row, 9)},  {"snapshot", hash_at(row, 10)},    {"idempotencyKey", text_at(row, 11)},
          {"environment", text_at(row, 12)}, {"outcome", text_at(row, 13)},     {"error", text_at(row, 14)},
          {"kind", text_at(row, 15)},        {"submission", hash_at(row, 16)},  {"definition", text_at(row, 17)},
          {"git", text_at(row, 18)}};
}

}  // namespace

Hash digest_of_run(Connection& connection, const Sha256& sha256, std::int64_t seq) {
  Json run = columns_of_run(connection, seq);
  Json& properties = run["properties"] = Json::object();
  for (Query row = connection.query("SELECT key, value FROM property WHERE run = ?", seq); row.next();)
    properties[row.string(0)] = row.string(1);
  Json& artifacts = run["artifacts"] = Json::object();
  for (Query row = connection.query("SELECT name, sha256 FROM artifact WHERE run = ?", seq); row.next();)
    artifacts[row.string(0)] = hash_at(row, 1);
  Json& attempts = run["attempts"] = Json::array();
  for (Query row =
           connection.query("SELECT number, started, ended, reason FROM attempt WHERE run = ? ORDER BY number", seq);
       row.next();)
    attempts.push_back({integer_at(row, 0), integer_at(row, 1), integer_at(row, 2), text_at(row, 3)});
  Json& metrics = run["metrics"] = Json::object();
  for (Query row =
           connection.query("SELECT name, shape, count, minimum, maximum FROM metric_series WHERE run = ?", seq);
       row.next();)
    metrics[row.string(0)] = {text_at(row, 1), integer_at(row, 2), real_at(row, 3), real_at(row, 4)};
  const std::string text = run.dump(-1, ' ', false, Json::error_handler_t::replace);
  return sha256.of(std::as_bytes(std::span(text)));
}

}  // namespace runner::store
