// runner.db of earlier versions: golden files that those versions wrote (golden_test.cpp), brought to the present one.
#include "fixture.hpp"
#include "golden.hpp"
#include "metric_records.hpp"
#include "store/environments.hpp"
#include "store/history.hpp"
#include "store/history_check.hpp"
#include "store/history_schema.hpp"
#include "store/sqlite_handle.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

std::filesystem::path copy_of_golden(const TemporaryDirectory& directory, int version) {
  const auto file = directory / "runner.db";
  std::filesystem::copy_file(
      std::string(RUNNER_SOURCE_DIR "/tests/data/history/runner-") + std::to_string(version) + ".db", file);
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  REQUIRE(sql(file, "PRAGMA user_version") == std::to_string(version));
  return file;
}

void check_sound(const History& history) {
  CHECK(history.check_file().empty());
  for (const RowProblem& problem : history.check_rows([] {})->problems()) FAIL_CHECK(problem.text);
}

// What the golden runs of every version have. `entries`: of the ledger, once they are migrated.
void check_runs(const std::filesystem::path& file, std::int64_t entries = 3) {
  History history(file);
  CHECK(sql(file, "PRAGMA user_version") == std::to_string(history_schema().version));
  const RunRecord completed = history.get("train_1700000001_00000001");
  CHECK(completed.status == RunStatus::kCompleted);
  CHECK(completed.kind == RunKind::kScript);
  CHECK(completed.name == "run 1");
  CHECK(completed.tags.at("quality") == "good");
  CHECK(completed.properties.at("author") == "somebody");
  CHECK(completed.idempotency_key == "key-1");
  CHECK(completed.outcome->exit_code == 0);
  CHECK(completed.git->commit == "c0ffee");
  CHECK(history.artifacts(completed.id).size() == 2);
  CHECK(history.notices(completed.id).size() == 1);
  const auto summaries = history.metric_summaries(completed.id);
  REQUIRE(summaries.size() == 2);
  CHECK(summaries[1].name == "loss");
  CHECK(summaries[1].shape == MetricShape::kValue);
  CHECK(summaries[1].count == 2);
  CHECK(summaries[1].last->value == MetricValue(0.25));
  CHECK(history.get("train_1700000002_00000002").attempt == 2);
  CHECK(history.get("train_1700000003_00000003").parent == "train_1700000002_00000002");
  CHECK(history.get("other_1700000005_00000005").queue.position == 0.5);
  // What is new holds for what is old.
  RunFilter filter;
  filter.include_children = true;
  const auto count = [&] { return history.list(filter).size(); };
  filter.parameters = {parameter_filter("lr<0.3")};
  CHECK(count() == 2);
  filter.metrics = {metric_filter("loss.last<=0.25")};
  CHECK(count() == 1);
  filter.text = "quality=good";
  CHECK(count() == 1);
  CHECK(history.check_rows([] {})->ledger().entries == entries);
  check_sound(history);
  // And it lives on.
  const std::string live = "other_1700000004_00000004";
  history.add_metrics(live, std::vector{point("note", "more"), list("l", {1.0})}, 200);
  history.add_children(live, std::vector<NewChild>{{.id = "00000000-0000-4000-8000-000000000001", .name = "c"}}, at(1));
  history.finish(live, RunStatus::kFailed, "", Outcome{.kind = OutcomeKind::kExited, .exit_code = 1}, {},
                 at(1'700'000'300'000'000), {});
  CHECK(history.check_rows([] {})->ledger().entries == entries + 2);
  check_sound(history);
}

}  // namespace

TEST_CASE("A history of schema version 4 is brought to the present one with all that is in it") {
  const TemporaryDirectory directory;
  check_runs(copy_of_golden(directory, 4));
}

TEST_CASE("A history of schema version 5 has all that it had") {
  const TemporaryDirectory directory;
  const auto file = copy_of_golden(directory, 5);
  {
    History history(file);
    check_tracking(history);
    check_sound(history);
  }
  check_runs(file, 3 + kTrackingEntries);
}

TEST_CASE("A migration that is killed has not happened, and the next start does it") {
  const TemporaryDirectory directory;
  const auto file = copy_of_golden(directory, 4);
  crash_after([&] {
    Connection connection(file, Connection::Mode::kReadWrite);
    connection.execute("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=1; BEGIN IMMEDIATE");
    const Migration last = history_schema().steps.back();
    connection.execute(std::string(last.sql));
    last.rows(connection);
    connection.execute(std::string(last.last_sql));
    connection.execute("PRAGMA user_version=5");
  });
  CHECK(sql(file, "PRAGMA user_version") == "4");
  CHECK(sql(file, "SELECT count(*) FROM sqlite_master WHERE name IN ('ledger', 'parameter', 'run_text')") == "0");
  check_runs(file);
}

TEST_CASE("A migration that fails leaves the file as it was") {
  const TemporaryDirectory directory;
  const auto file = copy_of_golden(directory, 4);
  // The last table that it makes is there already.
  REQUIRE(sql(file, "CREATE TABLE ledger(x)").empty());
  const Error error = error_of([&] { const History history(file); });
  CHECK(error.message().find("migration 5 (") != std::string::npos);
  CHECK(sql(file, "PRAGMA user_version") == "4");
  CHECK(sql(file, "SELECT count(*) FROM sqlite_master WHERE name IN ('parameter', 'run_text')") == "0");
  REQUIRE(sql(file, "DROP TABLE ledger").empty());
  check_runs(file);
}

TEST_CASE("A damaged definition keeps no history from being migrated") {
  const TemporaryDirectory directory;
  const auto file = copy_of_golden(directory, 4);
  REQUIRE(
      sql(file, "DROP TRIGGER submission_is_immutable; UPDATE submission SET definition = '{' WHERE run = 1").empty());
  History history(file);
  RunFilter filter;
  filter.parameters = {parameter_filter("lr")};
  CHECK(history.list(filter).size() == 3);
  const auto problems = history.check_rows([] {})->problems();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].text.find("its definition cannot be read") != std::string::npos);
}

TEST_CASE("A new history has what a migrated one has") {
  const int version = GENERATE(4, 5);
  const TemporaryDirectory directory, other;
  const auto migrated = copy_of_golden(directory, version), fresh = other / "runner.db";
  { const History a(migrated), b(fresh); }
  const std::string schema =
      "SELECT group_concat(type || name || coalesce(sql, ''), char(10)) FROM (SELECT * FROM sqlite_master ORDER BY "
      "type, name)";
  CHECK(sql(migrated, schema) == sql(fresh, schema));
}
