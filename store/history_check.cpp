#include "store/history_check.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "store/database_check.hpp"
#include "store/history_rows.hpp"
#include "store/record_json.hpp"

namespace runner::store {
namespace {

constexpr int kRunsAtOnce = 256;

// What one statement finds: a run's id (or nothing, for what belongs to none), and what stands behind the text.
struct SetCheck {
  std::string_view sql;
  std::string_view text;  // "%" is the second column
  bool derivable = false;
};

constexpr std::string_view kUnfoundRuns =
    "SELECT w.id, w.seq FROM run_words w LEFT JOIN run_text t ON t.rowid = w.seq WHERE t.rowid IS NULL"
    " OR substr(t.name, 1, 512) <> substr(w.name, 1, 512) OR substr(t.tags, 1, 4096) <> substr(w.tags, 1, 4096)";

// Rows that contradict each other. Foreign keys whose other end is gone are SQLite's to find; here they are named with
// their run.
constexpr std::array kSetChecks{
    SetCheck{
        "SELECT id, status FROM run WHERE status NOT IN ('NotStarted', 'Preparing', 'Queued', 'Starting', 'Running',"
        " 'Paused', 'CancelRequested', 'Finalizing', 'Completed', 'Failed', 'Canceled')",
        "is %, which is no status"},
    SetCheck{"SELECT id, status FROM run WHERE status IN ('Completed', 'Failed', 'Canceled') AND ended IS NULL",
             "is %, and the time of its end is missing"},
    SetCheck{"SELECT id, status FROM run WHERE status IN ('Completed', 'Failed', 'Canceled') AND outcome IS NULL",
             "is %, and its outcome is missing"},
    SetCheck{"SELECT id, status FROM run WHERE status IN ('NotStarted', 'Preparing', 'Queued', 'Starting', 'Running',"
             " 'Paused', 'CancelRequested', 'Finalizing') AND (ended IS NOT NULL OR outcome IS NOT NULL)",
             "is %, and has an end all the same"},
    SetCheck{"SELECT id, parent FROM run WHERE parent >= seq",
             "its parent (row %) is no older than itself: a run cannot be its own ancestor"},
    SetCheck{"SELECT id, parent FROM run r WHERE parent IS NOT NULL"
             " AND NOT EXISTS (SELECT 1 FROM run p WHERE p.seq = r.parent)",
             "its parent (row %) is missing"},
    SetCheck{"SELECT id, experiment FROM run WHERE experiment NOT IN (SELECT id FROM experiment)",
             "its experiment (row %) is missing"},
    SetCheck{"SELECT id, '' FROM run WHERE seq NOT IN (SELECT run FROM submission)", "its submission is missing"},
    SetCheck{"SELECT r.id, a.number || ' beside attempt ' || r.attempt FROM attempt a JOIN run r ON r.seq = a.run"
             " WHERE a.number < 1 OR a.number >= r.attempt",
             "has an earlier attempt %"},
    SetCheck{"SELECT id, attempt FROM run WHERE attempt < 1", "is at attempt %"},
    SetCheck{"SELECT r.id, r.attempt FROM run r WHERE r.attempt > 1"
             " AND (SELECT count(*) FROM attempt a WHERE a.run = r.seq AND a.number BETWEEN 1 AND r.attempt - 1)"
             " <> r.attempt - 1",
             "is at attempt %, and how the earlier ones ended is missing"},
    SetCheck{"SELECT r.id, a.name FROM artifact a JOIN run r ON r.seq = a.run WHERE a.bytes < 0 OR a.name = ''"
             " OR a.name LIKE '/%' OR '/' || a.name || '/' LIKE '%/../%' OR instr(a.name, char(0)) > 0",
             "artifact '%' is no name or size of one"},
    SetCheck{"SELECT id, kind FROM run WHERE kind = 'child' AND parent IS NULL", "is a %, and has no parent"},
    SetCheck{"SELECT r.id, s.name FROM metric_series s JOIN run r ON r.seq = s.run"
             " LEFT JOIN (SELECT series, count(*) AS count, min(number) AS first, max(number) AS last FROM metric_point"
             " GROUP BY series UNION ALL SELECT series, count(*), min(number), max(number) FROM metric_row"
             " GROUP BY series) p ON p.series = s.id"
             " WHERE s.count <> coalesce(p.count, 0) AND (r.ended IS NOT NULL OR coalesce(p.last + 1 = p.count, 1))",
             "metric '%': its summary is not that of its points", true},
    SetCheck{
        "SELECT r.id, s.name FROM metric_series s JOIN run r ON r.seq = s.run JOIN (SELECT series, count(*) AS count,"
        " min(number) AS first, max(number) AS last FROM metric_point GROUP BY series"
        " UNION ALL SELECT series, count(*), min(number), max(number) FROM metric_row GROUP BY series) p ON p.series = "
        "s.id"
        " WHERE p.first <> 0 OR p.last + 1 <> p.count",
        "metric '%': points of it are missing"},
    SetCheck{
        "SELECT r.id, s.name FROM metric_series s JOIN run r ON r.seq = s.run WHERE s.shape IN ('row', 'table')"
        " AND (coalesce(NOT json_valid(s.columns), 1) OR EXISTS (SELECT 1 FROM metric_point p WHERE p.series = s.id)"
        " OR EXISTS (SELECT 1 FROM metric_row w WHERE w.series = s.id AND NOT json_valid(w.cells)))",
        "metric '%': its rows cannot be read"},
    SetCheck{"SELECT r.id, s.name FROM metric_series s JOIN run r ON r.seq = s.run WHERE s.shape IN ('value', 'list')"
             " AND EXISTS (SELECT 1 FROM metric_row w WHERE w.series = s.id)",
             "metric '%': has rows among its points"},
    SetCheck{kUnfoundRuns, "is not found by its words", true},
    SetCheck{"SELECT NULL, t.id FROM run_text t WHERE t.rowid NOT IN (SELECT seq FROM run)",
             "runner.db: run % is found by its words, and is not there", true},
    SetCheck{"SELECT r.id, j.offset FROM journal j JOIN run r ON r.seq = j.run WHERE j.offset < 0",
             "its metrics are read up to byte %"},
    SetCheck{"SELECT NULL, '' WHERE NOT EXISTS (SELECT 1 FROM queue WHERE id = 1)",
             "runner.db: whether the queue is held is not said", true},
    SetCheck{
        "SELECT NULL, name || ':' || version FROM environment_version WHERE version < 1 OR NOT json_valid(definition)",
        "registered environment %: its definition cannot be read"},
    SetCheck{"SELECT NULL, lower(hex(substr(digest, 1, 8))) FROM environment"
             " WHERE lock IS NOT NULL AND lock NOT IN (SELECT digest FROM environment_lock)",
             "environment %: its lock is missing"},
    SetCheck{"SELECT NULL, lower(hex(substr(digest, 1, 8))) FROM environment_lock WHERE NOT json_valid(content)",
             "lock %: it cannot be read"},
    SetCheck{"SELECT NULL, id FROM environment_build"
             " WHERE environment NOT IN (SELECT digest FROM environment) OR lock NOT IN (SELECT digest FROM "
             "environment_lock)",
             "build % of an environment: its environment or its lock is missing"},
};

std::string filled(std::string_view text, const std::string& value) {
  const auto at = text.find('%');
  if (at == std::string_view::npos) return std::string(text);
  return std::string(text.substr(0, at)) + value + std::string(text.substr(at + 1));
}

RowProblem problem_of_run(const std::string& id, const std::string& text, bool derivable = false) {
  return {.text = "run " + id + ": " + text, .runs = {id}, .derivable = derivable};
}

template <class Step>
void attempt(std::vector<RowProblem>& problems, const Step& step) {
  try {
    step();
  } catch (const Error& error) {  // an adapter's: what SQLite cannot read is what is looked for
    if (error.code() != ErrorCode::kInternal) throw;
    problems.push_back({.text = error.message(), .runs = {}});
  }
}

// 8-4-4-4-12 hexadecimal digits.
bool is_uuid(std::string_view id) {
  constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  return std::equal(id.begin(), id.end(), kForm.begin(), kForm.end(), [](char c, char form) {
    return form == '-' ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

// "<experiment>_<unix seconds>_<8 hex>", one component of a path.
bool is_run_id(std::string_view id) {
  const auto hex = id.rfind('_');
  if (hex == std::string_view::npos || id.size() - hex != 9 || id.front() == '.' ||
      id.find('/') != std::string_view::npos)
    return false;
  const auto seconds = id.rfind('_', hex - 1);
  const auto all = [](std::string_view text, std::string_view of) {
    return !text.empty() && text.find_first_not_of(of) == std::string_view::npos;
  };
  return hex > 0 && seconds != std::string_view::npos && seconds > 0 &&
         all(id.substr(seconds + 1, hex - seconds - 1), "0123456789") && all(id.substr(hex + 1), "0123456789abcdef");
}

// What the columns of one run say, each by itself.
struct RunRow {
  std::int64_t seq = 0;
  std::string id;
  std::string status;
  std::string environment;
  std::optional<std::string> outcome, error, gpus, definition, git;
};

std::optional<std::string> text_at(const Query& query, int column) {
  return query.is_null(column) ? std::nullopt : std::optional(query.string(column));
}

void check_run(const RunRow& row, std::vector<RowProblem>& problems) {
  const auto parses = [&](const char* what, const std::optional<std::string>& text, const auto& parse) {
    if (!text) return true;
    try {
      parse(*text);
      return true;
    } catch (const Error&) {  // said with the run that it belongs to
      problems.push_back(problem_of_run(row.id, std::string("its ") + what + " cannot be read"));
      return false;
    }
  };
  if (!is_run_id(row.id) && !is_uuid(row.id)) problems.push_back(problem_of_run(row.id, "that is no name of a run"));
  parses("environment", row.environment, environment_from_json);
  parses("error", row.error, error_from_json);
  parses("list of GPUs", row.gpus, names_from_json);
  parses("definition", row.definition, definition_from_json);
  parses("git state", row.git, git_from_json);
  if (!parses("outcome", row.outcome, outcome_from_json) || !row.outcome) return;
  const auto status = run_status_from(row.status);
  const Outcome outcome = outcome_from_json(*row.outcome);
  if (status && is_final(*status) && *status != final_status_of(outcome))
    problems.push_back(
        problem_of_run(row.id, "is " + row.status + ", and its outcome says: " + std::string(to_string(outcome.kind))));
}

}  // namespace

void HistoryCheck::check_sets(std::vector<RowProblem>& problems) const {
  for (const SetCheck& check : kSetChecks) {
    tick_();
    attempt(problems, [&] {
      const auto reader = database_.read();
      Query query = reader->query_once(std::string(check.sql) + " LIMIT " + std::to_string(kMostProblems));
      while (query.next()) {
        const std::string text = filled(check.text, query.string(1));
        problems.push_back(query.is_null(0) ? RowProblem{.text = text, .runs = {}, .derivable = check.derivable}
                                            : problem_of_run(query.string(0), text, check.derivable));
      }
    });
  }
}

void HistoryCheck::check_runs(std::vector<RowProblem>& problems) const {
  const std::size_t most = problems.size() + kMostProblems;
  bool more = true;
  for (std::int64_t seq = 0; more && problems.size() < most;) {
    tick_();
    std::vector<RunRow> rows;
    more = false;
    attempt(problems, [&] {
      const auto reader = database_.read();
      Query query = reader->query(
          "SELECT r.seq, r.id, r.status, r.environment, r.outcome, r.error, r.gpus, s.definition, s.git FROM run r"
          " LEFT JOIN submission s ON s.run = r.seq WHERE r.seq > ? ORDER BY r.seq LIMIT ?",
          seq, kRunsAtOnce);
      while (query.next())
        rows.push_back({.seq = query.integer(0),
                        .id = query.string(1),
                        .status = query.string(2),
                        .environment = query.string(3),
                        .outcome = text_at(query, 4),
                        .error = text_at(query, 5),
                        .gpus = text_at(query, 6),
                        .definition = text_at(query, 7),
                        .git = text_at(query, 8)});
    });
    for (const RunRow& row : rows) check_run(row, problems);
    if (!rows.empty() && rows.back().seq > seq) {
      seq = rows.back().seq;
      more = true;
    }
  }
}

// The names of environments are hashes: of a text that is kept beside them.
void HistoryCheck::check_environments(std::vector<RowProblem>& problems) const {
  attempt(problems, [&] {
    const auto reader = database_.read();
    Query query = reader->query("SELECT digest, identity, json_valid(specification) FROM environment");
    while (query.next()) {
      tick_();
      const Hash digest = query.hash(0);
      const std::string identity = query.string(1);
      if (sha256_.of(std::as_bytes(std::span(identity))) != digest)
        problems.push_back(
            {.text = "environment " + digest.hex().substr(0, 16) + ": its text is another environment's", .runs = {}});
      if (query.integer(2) != 1)
        problems.push_back(
            {.text = "environment " + digest.hex().substr(0, 16) + ": its specification cannot be read", .runs = {}});
    }
  });
}

std::vector<RowProblem> HistoryCheck::problems() const {
  std::vector<RowProblem> problems;
  check_sets(problems);
  check_runs(problems);
  check_environments(problems);
  check_ledger(problems);
  return problems;
}

namespace {

// Nothing in it, if it cannot be read.
RunDefinition definition_of(Connection& connection, std::int64_t run) {
  Query query = connection.query("SELECT definition FROM submission WHERE run = ?", run);
  if (!query.next()) return {};
  try {
    return definition_from_json(query.text(0));
  } catch (const Error&) {  // told as a problem of its own
    return {};
  }
}

}  // namespace

void HistoryCheck::repair() const {
  if (would_reindex_help(check_database(database_))) {
    database_.forget_damage();
    database_.write(Sync::kDurable, [](Connection& connection) { connection.execute("REINDEX"); });
  }
  tick_();
  database_.write(Sync::kDurable, [](Connection& connection) {
    connection.run("INSERT INTO queue(id, held) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM queue WHERE id = 1)");
  });
  tick_();
  database_.write(Sync::kDurable, [](Connection& connection) {
    std::vector<std::int64_t> runs;
    for (Query query = connection.query(kUnfoundRuns); query.next();) runs.push_back(query.integer(1));
    const bool orphans = connection.query("SELECT 1 FROM run_text WHERE rowid NOT IN (SELECT seq FROM run)").next();
    if (runs.empty() && !orphans) return;
    connection.run("INSERT INTO run_text(run_text) VALUES ('rebuild')");  // its index, out of what it holds
    connection.run("DELETE FROM run_text WHERE rowid NOT IN (SELECT seq FROM run)");
    for (const std::int64_t run : runs) {
      connection.run("DELETE FROM run_text WHERE rowid = ?", run);
      insert_words(connection, run, definition_of(connection, run));
    }
  });
  tick_();
  database_.write(Sync::kDurable, [](Connection& connection) {
    // The numbers that are finite: text and NULL (NaN) are none, and neither are infinities.
    const std::string finite =
        " FROM metric_point p WHERE p.series = s.id AND typeof(p.value) IN ('integer', 'real') AND p.value > -9e999"
        " AND p.value < 9e999)";
    const std::string count =
        "((SELECT count(*) FROM metric_point p WHERE p.series = s.id) + (SELECT count(*) FROM metric_row w WHERE"
        " w.series = s.id))";
    const std::string next =
        "coalesce((SELECT max(p.number) + 1 FROM metric_point p WHERE p.series = s.id),"
        " (SELECT max(w.number) + 1 FROM metric_row w WHERE w.series = s.id), 0)";
    connection.run("UPDATE metric_series AS s SET count = " + count + ", minimum = (SELECT min(p.value)" + finite +
                   ", maximum = (SELECT max(p.value)" + finite + " WHERE s.count <> " + count +
                   // The next point of a run that lives takes the count as its number.
                   " AND (EXISTS (SELECT 1 FROM run r WHERE r.seq = s.run AND r.ended IS NOT NULL) OR " + next + " = " +
                   count + ")");
  });
}

void HistoryCheck::correct_artifact_size(const std::string& run, const std::string& name, std::int64_t bytes) const {
  database_.write(Sync::kDurable, [&](Connection& connection) {
    connection.run("UPDATE artifact SET bytes = ? WHERE run = (SELECT seq FROM run WHERE id = ?) AND name = ?", bytes,
                   run, name);
  });
}

}  // namespace runner::store
