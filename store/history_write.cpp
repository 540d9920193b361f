// Everything that changes a run of runner.db while it lives: its end is in history_end.cpp, children in
// history_children.cpp, metrics in history_metrics.cpp, what may change later in history_update.cpp. JSON is made
// before the writer is asked for: others may be waiting for it.
#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/history_schema.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

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

}  // namespace

History::Impl::Impl(const std::filesystem::path& path)
    : database(path, history_schema(), DatabaseOptions{.sync_beside = true}) {}

History::History(const std::filesystem::path& database) : impl_(std::make_unique<Impl>(database)) {}
History::~History() = default;

void History::make_durable() const { impl_->database.make_durable(); }

void History::require_room() const { impl_->database.require_room(); }

bool History::has_room() const { return !damage() && impl_->database.has_room(); }

std::optional<Error> History::damage() const { return impl_->database.damage(); }

History::Added History::add_run(const RunRecord& run, std::span<const Artifact> artifacts,
                                const std::optional<Asker>& asker) {
  const RunDocuments documents(run);
  std::optional<RunRecord> found;
  std::int64_t seq = 0;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    found = existing(connection, run);
    if (found) return;
    if (asker) require_asker(connection, *asker, run.parent);
    seq = insert_run(connection, run, documents, artifacts);
    if (asker) require_place(connection, seq);
    insert_words(connection, seq, run.definition);
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

void History::set_gpus(const std::string& id, const std::vector<std::string>& gpus) {
  const std::string json = to_json(gpus);
  impl_->database.write(Sync::kRelaxed, [&](Connection& connection) {
    connection.run("UPDATE run SET gpus = ?2 WHERE id = ?1 AND ended IS NULL", id, json);
  });
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
