// How runs end: by what became of their script, by being told, with their parent; and how a new attempt begins.
#include "runner/core/artifact_name.hpp"
#include "runner/core/error.hpp"
#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/ledger.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

// The JSON is made before the writer is asked for.
struct End {
  RunStatus status;
  std::string reason;
  std::string outcome;
  std::optional<std::string> error;
  UtcTime time;
};

End end_of(const std::string& id, RunStatus status, const std::string& reason, const Outcome& outcome,
           const std::optional<RunError>& error, UtcTime time) {
  if (!is_final(status))
    throw Error(ErrorCode::kInternal, "run " + id + ": " + std::string(to_string(status)) + " is no end");
  End end{status, reason, to_json(outcome), {}, time};
  if (error) end.error = to_json(*error);
  return end;
}

// False if it has ended already.
bool end_run(Connection& connection, const Sha256& sha256, std::int64_t seq, const End& end,
             std::span<const Artifact> artifacts) {
  const bool ended = connection.run(
                         "UPDATE run SET status = ?2, status_reason = ?3, outcome = ?4, error = ?5, ended = ?6"
                         " WHERE seq = ?1 AND status NOT IN ('Completed', 'Failed', 'Canceled')",
                         seq, to_string(end.status), end.reason, end.outcome, end.error, end.time) == 1;
  if (!ended) return false;
  insert_artifacts(connection, seq, artifacts);
  record_in_ledger(connection, sha256, seq, LedgerKind::kFinal, end.time);
  return true;
}

// What a parent that ended so leaves open.
ParentsEnd left_by(RunStatus status, UtcTime time) {
  if (status == RunStatus::kCompleted) return {.status = status, .reason = "", .time = time};
  return {.status = RunStatus::kCanceled, .reason = "its parent ended", .time = time};
}

// What the script has handed over belongs to this attempt: the next one may choose the same names.
void set_apart_artifacts(Connection& connection, std::int64_t seq, int attempt) {
  std::vector<std::string> names;
  for (Query query = connection.query("SELECT name FROM artifact WHERE run = ?", seq); query.next();)
    if (!is_own_artifact_name(query.text(0))) names.push_back(query.string(0));
  const std::string place = "attempts/" + std::to_string(attempt) + "/";
  for (const std::string& name : names)
    connection.run("UPDATE artifact SET name = ?3 WHERE run = ?1 AND name = ?2", seq, name, place + name);
}

}  // namespace

void end_children(Connection& connection, const Sha256& sha256, std::int64_t parent, const ParentsEnd& end,
                  std::vector<std::string>& ended) {
  const End of_child = end_of("", end.status, end.reason, outcome_of_end(end.status, end.reason), {}, end.time);
  // A child that has ended has left nothing open below it: it went through here itself.
  std::vector<std::int64_t> parents{parent};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    std::vector<std::pair<std::int64_t, std::string>> children;
    for (Query child = connection.query("SELECT seq, id FROM run WHERE parent = ? AND kind = 'child' AND ended IS NULL"
                                        " ORDER BY seq",
                                        parents[i]);
         child.next();)
      children.emplace_back(child.integer(0), child.string(1));
    for (const auto& [seq, id] : children) {
      if (!end_run(connection, sha256, seq, of_child, {})) continue;
      parents.push_back(seq);
      ended.push_back(id);
    }
  }
}

std::vector<std::string> History::finish(const std::string& id, RunStatus final_status, const std::string& reason,
                                         const Outcome& outcome, const std::optional<RunError>& error, UtcTime ended,
                                         std::span<const Artifact> artifacts) {
  const End end = end_of(id, final_status, reason, outcome, error, ended);
  std::vector<std::string> all;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    all.clear();
    const std::int64_t seq = seq_of(connection, id);
    if (!end_run(connection, impl_->sha256, seq, end, artifacts)) return;
    all.push_back(id);
    end_children(connection, impl_->sha256, seq, left_by(final_status, ended), all);
  });
  return all;
}

std::vector<std::string> History::end(const std::string& id, RunStatus final_status, const std::string& reason,
                                      const std::optional<RunError>& error, UtcTime ended) {
  const End end = end_of(id, final_status, reason, outcome_of_end(final_status, reason), error, ended);
  std::vector<std::string> all;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    all.clear();
    const std::int64_t seq = seq_of(connection, id);
    {
      Query kind = connection.query("SELECT 1 FROM run WHERE seq = ? AND kind = 'script'", seq);
      if (kind.next())
        throw Error(ErrorCode::kConflict, "run " + id + " ends when its script does",
                    "`runner run fail` and `runner cancel` stop a script");
    }
    if (!end_run(connection, impl_->sha256, seq, end, {})) return;
    all.push_back(id);
    end_children(connection, impl_->sha256, seq, left_by(final_status, ended), all);
  });
  return all;
}

std::vector<std::string> History::begin_next_attempt(const std::string& id, int attempt, UtcTime ended,
                                                     const std::string& reason, std::span<const Artifact> artifacts) {
  std::vector<std::string> all;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    all.clear();
    const std::int64_t seq = seq_of(connection, id);
    const auto unchanged = " WHERE seq = ?1 AND attempt = ?2 AND ended IS NULL AND asked_to_end IS NULL";
    if (connection.run(std::string("INSERT INTO attempt(run, number, started, ended, reason)"
                                   " SELECT seq, attempt, started, ?3, ?4 FROM run") +
                           unchanged,
                       seq, attempt, ended, reason) != 1)
      return;
    connection.run(
        "UPDATE run SET attempt = attempt + 1, status = 'Queued', status_reason = '', started = NULL, gpus = NULL"
        " WHERE seq = ?",
        seq);
    connection.run("DELETE FROM metric_series WHERE run = ?", seq);
    connection.run("DELETE FROM journal WHERE run = ?", seq);
    set_apart_artifacts(connection, seq, attempt);
    insert_artifacts(connection, seq, artifacts);
    all.push_back(id);
    end_children(connection, impl_->sha256, seq,
                 {.status = RunStatus::kCanceled, .reason = "its parent was started again", .time = ended}, all);
  });
  return all;
}

}  // namespace runner::store
