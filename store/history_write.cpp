// Everything that changes runner.db, but for metrics. JSON is made before the writer is asked for: others may be
// waiting for it.
#include <array>

#include "embedded/attempt_schema.hpp"
#include "embedded/environment_schema.hpp"
#include "embedded/history_schema.hpp"
#include "embedded/queue_schema.hpp"
#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

constexpr int kSchemaVersion = 4;
constexpr std::array kMigrations{Migration{2, "environments", embedded::environment_schema},
                                 Migration{3, "the order of the queue", embedded::queue_schema},
                                 Migration{4, "attempts", embedded::attempt_schema}};

// A new file begins as if it had been made by the first version and gone through all that came since.
Schema schema() {
  static const std::string current = std::string(embedded::history_schema) + std::string(embedded::environment_schema) +
                                     std::string(embedded::queue_schema) + std::string(embedded::attempt_schema);
  return {"runner.db", 0x52756e52 /* "RunR" */, kSchemaVersion, current, kMigrations};
}

// The JSON columns of a new run.
struct Documents {
  std::string definition;
  std::optional<std::string> git;
  std::string environment;
  std::optional<std::string> outcome;
  std::optional<std::string> error;
};

Documents documents_of(const RunRecord& run) {
  Documents documents{to_json(run.definition), {}, to_json(run.environment), {}, {}};
  if (run.git) documents.git = to_json(*run.git);
  if (run.outcome) documents.outcome = to_json(*run.outcome);
  if (run.error) documents.error = to_json(*run.error);
  return documents;
}

// The run that has this run's idempotency key, if any.
std::optional<RunRecord> existing(Connection& connection, const RunRecord& run) {
  if (!run.idempotency_key) return std::nullopt;
  Query query = connection.query("SELECT seq FROM run WHERE idempotency_key = ?", *run.idempotency_key);
  if (!query.next()) return std::nullopt;
  RunRecord found = load_run(connection, query.integer(0));
  if (found.submission_digest != run.submission_digest)
    throw Error(ErrorCode::kConflict,
                "idempotency key \"" + *run.idempotency_key + "\" belongs to run " + found.id +
                    ", which was submitted with other content",
                "use another --idempotency-key for another submission");
  return found;
}

std::int64_t experiment_of(Connection& connection, const std::string& name) {
  {
    Query query = connection.query("SELECT id FROM experiment WHERE name = ?", name);
    if (query.next()) return query.integer(0);
  }
  connection.run("INSERT INTO experiment(name) VALUES (?)", name);
  return connection.last_insert_id();
}

void insert(Connection& connection, std::int64_t seq, std::span<const Artifact> artifacts) {
  for (const Artifact& artifact : artifacts)
    connection.run("INSERT INTO artifact(run, name, bytes, sha256) VALUES (?, ?, ?, ?)", seq, artifact.name,
                   artifact.bytes, artifact.sha256);
}

std::int64_t insert(Connection& connection, const RunRecord& run, const Documents& documents,
                    std::span<const Artifact> artifacts) {
  const std::int64_t experiment = experiment_of(connection, run.experiment);
  std::optional<std::int64_t> parent;
  if (run.parent) parent = seq_of(connection, *run.parent);
  connection.run(
      "INSERT INTO run(id, experiment, parent, name, status, status_reason, created, started, ended, attempt, priority,"
      " snapshot, idempotency_key, environment, outcome, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
      "?)",
      run.id, experiment, parent, run.name, to_string(run.status), run.status_reason, run.created, run.started,
      run.ended, run.attempt, run.queue.priority, run.snapshot, run.idempotency_key, documents.environment,
      documents.outcome, documents.error);
  const std::int64_t seq = connection.last_insert_id();
  connection.run("INSERT INTO submission(run, digest, definition, git) VALUES (?, ?, ?, ?)", seq, run.submission_digest,
                 documents.definition, documents.git);
  for (const auto& [key, value] : run.tags)
    connection.run("INSERT INTO tag(run, key, value) VALUES (?, ?, ?)", seq, key, value);
  for (const auto& [key, value] : run.properties)
    connection.run("INSERT INTO property(run, key, value) VALUES (?, ?, ?)", seq, key, value);
  insert(connection, seq, artifacts);
  return seq;
}

}  // namespace

History::Impl::Impl(const std::filesystem::path& path)
    : database(path, schema(), DatabaseOptions{.sync_beside = true}) {}

History::History(const std::filesystem::path& database) : impl_(std::make_unique<Impl>(database)) {}
History::~History() = default;

void History::make_durable() const { impl_->database.make_durable(); }

void History::require_room() const { impl_->database.require_room(); }

bool History::has_room() const { return !damage() && impl_->database.has_room(); }

std::optional<Error> History::damage() const { return impl_->database.damage(); }

History::Added History::add_run(const RunRecord& run, std::span<const Artifact> artifacts) {
  const Documents documents = documents_of(run);
  std::optional<RunRecord> found;
  std::int64_t seq = 0;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    found = existing(connection, run);
    if (!found) seq = insert(connection, run, documents, artifacts);
  });
  if (found) return {std::move(*found), true};
  Added added{run, false};
  added.run.queue.position = static_cast<double>(seq);
  return added;
}

bool History::set_status(const std::string& id, RunStatus status, const std::string& reason,
                         std::optional<UtcTime> started, std::optional<int> attempt) {
  if (is_final(status))
    throw Error(ErrorCode::kInternal, "run " + id + ": " + std::string(to_string(status)) + " is set by its end only");
  bool changed = false;
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    changed = connection.run(
                  "UPDATE run SET status = ?2, status_reason = ?3, started = coalesce(started, ?4) WHERE id = ?1"
                  " AND status NOT IN ('Completed', 'Failed', 'Canceled')"
                  " AND (status <> 'CancelRequested' OR ?2 = 'Finalizing') AND (?5 IS NULL OR attempt = ?5)",
                  id, to_string(status), reason, started, attempt) == 1;
    if (!changed) seq_of(connection, id);
  });
  return changed;
}

void History::set_environment(const std::string& id, const EnvironmentRef& environment) {
  const std::string json = to_json(environment);
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    if (connection.run("UPDATE run SET environment = ?2 WHERE id = ?1", id, json) == 0) throw no_such_run(id);
  });
}

bool History::set_queue_place(const std::string& id, const QueuePlace& place) {
  bool changed = false;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    changed = connection.run("UPDATE run SET priority = ?2, queue_position = ?3 WHERE id = ?1 AND ended IS NULL", id,
                             place.priority, place.position) == 1;
    if (!changed) seq_of(connection, id);
  });
  return changed;
}

void History::hold_queue(bool held) {
  impl_->database.write(Sync::kDurable,
                        [&](Connection& connection) { connection.run("UPDATE queue SET held = ?", held ? 1 : 0); });
}

std::vector<std::string> History::request_cancel(const std::string& id, const Cancellation& cancellation) {
  std::vector<std::string> asked;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    asked.clear();
    std::vector<std::int64_t> runs{seq_of(connection, id)};
    for (std::size_t i = 0; cancellation.recursive && i < runs.size(); ++i)
      for (Query child = connection.query("SELECT seq FROM run WHERE parent = ? ORDER BY seq", runs[i]); child.next();)
        runs.push_back(child.integer(0));
    for (const std::int64_t run : runs) {
      const bool own = run == runs.front();
      // A second request changes nothing: the first reason is the one that stopped the run.
      connection.run(
          "UPDATE run SET status = 'CancelRequested', status_reason = ?2, asked_to_end = ?3 WHERE seq = ?1"
          " AND status NOT IN ('Completed', 'Failed', 'Canceled', 'CancelRequested')",
          run, own ? cancellation.reason : "with its parent " + id + ": " + cancellation.reason,
          own && cancellation.fails ? "fail" : "cancel");
      Query query = connection.query("SELECT id FROM run WHERE seq = ? AND ended IS NULL", run);
      if (query.next()) asked.push_back(query.string(0));
    }
  });
  return asked;
}

bool History::begin_next_attempt(const std::string& id, int attempt, UtcTime ended, const std::string& reason,
                                 std::span<const Artifact> artifacts) {
  bool begun = false;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    const std::int64_t seq = seq_of(connection, id);
    const auto unchanged = " WHERE seq = ?1 AND attempt = ?2 AND ended IS NULL AND asked_to_end IS NULL";
    begun = connection.run(std::string("INSERT INTO attempt(run, number, started, ended, reason)"
                                       " SELECT seq, attempt, started, ?3, ?4 FROM run") +
                               unchanged,
                           seq, attempt, ended, reason) == 1;
    if (!begun) return;
    connection.run(
        "UPDATE run SET attempt = attempt + 1, status = 'Queued', status_reason = '', started = NULL, gpus = NULL"
        " WHERE seq = ?",
        seq);
    connection.run("DELETE FROM metric_series WHERE run = ?", seq);
    connection.run("DELETE FROM journal WHERE run = ?", seq);
    insert(connection, seq, artifacts);
  });
  return begun;
}

void History::set_gpus(const std::string& id, const std::vector<std::string>& gpus) {
  const std::string json = to_json(gpus);
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    connection.run("UPDATE run SET gpus = ?2 WHERE id = ?1 AND ended IS NULL", id, json);
  });
}

bool History::finish(const std::string& id, RunStatus final_status, const std::string& reason, const Outcome& outcome,
                     const std::optional<RunError>& error, UtcTime ended, std::span<const Artifact> artifacts) {
  if (!is_final(final_status))
    throw Error(ErrorCode::kInternal, "run " + id + ": " + std::string(to_string(final_status)) + " is no end");
  const std::string outcome_json = to_json(outcome);
  std::optional<std::string> error_json;
  if (error) error_json = to_json(*error);
  bool finished = false;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    const std::int64_t seq = seq_of(connection, id);
    finished = connection.run(
                   "UPDATE run SET status = ?2, status_reason = ?3, outcome = ?4, error = ?5, ended = ?6 WHERE seq = ?1"
                   " AND status NOT IN ('Completed', 'Failed', 'Canceled')",
                   seq, to_string(final_status), reason, outcome_json, error_json, ended) == 1;
    if (!finished) return;
    insert(connection, seq, artifacts);
  });
  return finished;
}

void History::add_artifacts(const std::string& id, std::span<const Artifact> artifacts) {
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    const std::int64_t seq = seq_of(connection, id);
    for (const Artifact& artifact : artifacts)
      connection.run(
          "INSERT INTO artifact(run, name, bytes, sha256) SELECT seq, ?2, ?3, ?4 FROM run WHERE seq = ?1 AND ended IS "
          "NULL"
          " ON CONFLICT DO NOTHING",
          seq, artifact.name, artifact.bytes, artifact.sha256);
  });
}

std::int64_t History::add_notice(const std::string& id, const std::string& text, std::int64_t instead_of) {
  constexpr std::int64_t kMaxNotices = 200;  // a script can give cause for any number of them
  std::int64_t number = 0;
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    const std::int64_t seq = seq_of(connection, id);
    number = instead_of;
    if (instead_of > 0 &&
        connection.run("UPDATE notice SET text = ?3 WHERE run = ?1 AND number = ?2", seq, instead_of, text) == 1)
      return;
    {
      Query same = connection.query("SELECT number FROM notice WHERE run = ? AND text = ?", seq, text);
      if (same.next()) {
        number = same.integer(0);
        return;
      }
    }
    {
      Query last = connection.query("SELECT coalesce(max(number), 0) FROM notice WHERE run = ?", seq);
      last.next();
      number = last.integer(0) + 1;
    }
    if (number > kMaxNotices + 1) {
      number = 0;
      return;
    }
    connection.run("INSERT INTO notice(run, number, text) VALUES (?, ?, ?)", seq, number,
                   number <= kMaxNotices
                       ? text
                       : "there were more than " + std::to_string(kMaxNotices) + " notices; the others are left out");
    if (number > kMaxNotices) number = 0;
  });
  return number;
}

}  // namespace runner::store
