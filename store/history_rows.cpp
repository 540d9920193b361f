#include "store/history_rows.hpp"

#include "store/record_json.hpp"

namespace runner::store {

Error no_such_run(std::string_view id) {
  return Error(ErrorCode::kNotFound, "no run \"" + std::string(id) + "\"", "`runner run list` shows the newest");
}

std::int64_t seq_of(Connection& connection, std::string_view id) {
  Query query = connection.query("SELECT seq FROM run WHERE id = ?", id);
  if (!query.next()) throw no_such_run(id);
  return query.integer(0);
}

RunRecord load_run(Connection& connection, std::int64_t seq) {
  RunRecord run;
  Query row = connection.query(
      "SELECT r.id, e.name, r.name, r.status, r.status_reason, r.created, r.started, r.ended, r.attempt, p.id, "
      "r.snapshot,"
      " s.git, r.environment, s.definition, r.outcome, r.error, r.priority, r.idempotency_key, s.digest, "
      "coalesce(r.queue_position, r.seq), r.gpus, r.kind"
      " FROM run r JOIN experiment e ON e.id = r.experiment JOIN submission s ON s.run = r.seq"
      " LEFT JOIN run p ON p.seq = r.parent WHERE r.seq = ?",
      seq);
  if (!row.next()) throw no_such_run("#" + std::to_string(seq));
  run.id = row.string(0);
  run.experiment = row.string(1);
  run.name = row.string(2);
  run.status = run_status_from(row.text(3)).value_or(RunStatus::kNotStarted);  // the column's CHECK knows the words
  run.status_reason = row.string(4);
  run.created = row.time(5);
  if (!row.is_null(6)) run.started = row.time(6);
  if (!row.is_null(7)) run.ended = row.time(7);
  run.attempt = static_cast<int>(row.integer(8));
  if (!row.is_null(9)) run.parent = row.string(9);
  if (!row.is_null(10)) run.snapshot = row.hash(10);
  if (!row.is_null(11)) run.git = git_from_json(row.text(11));
  run.environment = environment_from_json(row.text(12));
  run.definition = definition_from_json(row.text(13));
  if (!row.is_null(14)) run.outcome = outcome_from_json(row.text(14));
  if (!row.is_null(15)) run.error = error_from_json(row.text(15));
  run.queue = {.priority = static_cast<int>(row.integer(16)), .position = row.real(19)};
  if (!row.is_null(17)) run.idempotency_key = row.string(17);
  run.submission_digest = row.hash(18);
  if (!row.is_null(20)) run.gpus = names_from_json(row.text(20));
  run.kind = run_kind_from(row.text(21)).value_or(RunKind::kScript);  // as above

  if (run.attempt > 1)
    for (Query attempt =
             connection.query("SELECT number, started, ended, reason FROM attempt WHERE run = ? ORDER BY number", seq);
         attempt.next();)
      run.earlier_attempts.push_back({.number = static_cast<int>(attempt.integer(0)),
                                      .started = attempt.is_null(1) ? std::nullopt : std::optional(attempt.time(1)),
                                      .ended = attempt.time(2),
                                      .reason = attempt.string(3)});
  for (Query tag = connection.query("SELECT key, value FROM tag WHERE run = ?", seq); tag.next();)
    run.tags.emplace(tag.string(0), tag.is_null(1) ? std::nullopt : std::optional(tag.string(1)));
  for (Query property = connection.query("SELECT key, value FROM property WHERE run = ?", seq); property.next();)
    run.properties.emplace(property.string(0), property.string(1));
  return run;
}

}  // namespace runner::store
