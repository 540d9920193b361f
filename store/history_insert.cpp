// New runs: one row in `run`, and what hangs on it from the start.
#include "runner/core/run_bounds.hpp"
#include "store/history_rows.hpp"
#include "store/parameters.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

std::int64_t experiment_of(Connection& connection, const std::string& name) {
  {
    Query query = connection.query("SELECT id FROM experiment WHERE name = ?", name);
    if (query.next()) return query.integer(0);
  }
  connection.run("INSERT INTO experiment(name) VALUES (?)", name);
  return connection.last_insert_id();
}

}  // namespace

RunDocuments::RunDocuments(const RunRecord& run)
    : definition(to_json(run.definition)), environment(to_json(run.environment)) {
  if (run.git) git = to_json(*run.git);
  if (run.outcome) outcome = to_json(*run.outcome);
  if (run.error) error = to_json(*run.error);
}

void insert_artifacts(Connection& connection, std::int64_t seq, std::span<const Artifact> artifacts) {
  for (const Artifact& artifact : artifacts)
    connection.run("INSERT INTO artifact(run, name, bytes, sha256) VALUES (?, ?, ?, ?)", seq, artifact.name,
                   artifact.bytes, artifact.sha256);
}

std::int64_t insert_run(Connection& connection, const RunRecord& run, const RunDocuments& documents,
                        std::span<const Artifact> artifacts) {
  const std::int64_t experiment = experiment_of(connection, run.experiment);
  std::optional<std::int64_t> parent;
  if (run.parent) parent = seq_of(connection, *run.parent);
  connection.run(
      "INSERT INTO run(id, experiment, parent, name, status, status_reason, created, started, ended, attempt, priority,"
      " snapshot, idempotency_key, environment, outcome, error, kind) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
      " ?, ?, ?)",
      run.id, experiment, parent, run.name, to_string(run.status), run.status_reason, run.created, run.started,
      run.ended, run.attempt, run.queue.priority, run.snapshot, run.idempotency_key, documents.environment,
      documents.outcome, documents.error, to_string(run.kind));
  const std::int64_t seq = connection.last_insert_id();
  connection.run("INSERT INTO submission(run, digest, definition, git) VALUES (?, ?, ?, ?)", seq, run.submission_digest,
                 documents.definition, documents.git);
  for (const auto& [key, value] : run.tags)
    connection.run("INSERT INTO tag(run, key, value) VALUES (?, ?, ?)", seq, key, value);
  for (const auto& [key, value] : run.properties)
    connection.run("INSERT INTO property(run, key, value) VALUES (?, ?, ?)", seq, key, value);
  insert_parameters(connection, seq, run.definition);
  insert_artifacts(connection, seq, artifacts);
  return seq;
}

void insert_parameters(Connection& connection, std::int64_t seq, const RunDefinition& definition) {
  for (const Parameter& parameter : parameters_of(definition)) {
    Query query = connection.query("INSERT INTO parameter(run, key, value, number) VALUES (?, ?, ?, ?)", seq,
                                   parameter.key, parameter.value);
    constexpr int kNumber = 4;
    if (parameter.number) std::visit([&](auto number) { query.bind(kNumber, number); }, *parameter.number);
    query.next();
  }
}

void insert_words(Connection& connection, std::int64_t seq, const RunDefinition& definition) {
  std::string script = definition.script;
  for (const std::string& word : definition.command) script += (script.empty() ? "" : " ") + word;
  script = shortened(std::move(script), kFoundScript);
  Query words = connection.query("SELECT id, " + std::string(kFoundWords) + " FROM run_words WHERE seq = ?", seq);
  if (!words.next()) return;
  // Not INSERT … SELECT: that may take a savepoint.
  connection.run("INSERT INTO run_text(rowid, id, name, script, tags) VALUES (?, ?, ?, ?, ?)", seq, words.text(0),
                 words.text(1), script, words.text(2));
}

void update_words(Connection& connection, std::int64_t seq) {
  connection.run("UPDATE run_text SET (name, tags) = (SELECT " + std::string(kFoundWords) +
                     " FROM run_words WHERE seq = ?1) WHERE rowid = ?1",
                 seq);
}

}  // namespace runner::store
