// Golden databases: tests/data/history/runner-N.db is what the program wrote when N was the schema's version. The
// hidden test writes the present one (RUNNER_GOLDEN=FILE unit_store "[golden]"); a released file is never written
// again.
#include <cmath>
#include <cstdlib>

#include "fixture.hpp"
#include "golden.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

MetricRecord logged(const std::string& name, MetricValue value, std::int64_t step) {
  return point(name, std::move(value), step, 1'700'000'100'000'000 + step);
}

RunRecord golden_run(int number, const std::string& experiment) {
  RunRecord run =
      sample_run(experiment + "_170000000" + std::to_string(number) + "_0000000" + std::to_string(number), experiment);
  run.name = "run " + std::to_string(number);
  run.created = at(1'700'000'000'000'000 + number);
  run.definition.arguments = {"--lr", "0." + std::to_string(number), "--epochs=10", "--augment", "model.depth=3"};
  run.environment.kind = "interpreter";
  run.snapshot = hash_of_byte(static_cast<std::uint8_t>(number));
  run.tags = {{"quality", "good"}, {"bare", std::nullopt}};
  run.properties = {{"author", "somebody"}, {"azureml.git.branch", "main"}};
  run.git =
      GitState{.repository_uri = "https://example.org/r.git", .branch = "main", .commit = "c0ffee", .dirty = true};
  return run;
}

}  // namespace

TEST_CASE("Writes the golden database of the present schema", "[.golden]") {
  const char* const file = std::getenv("RUNNER_GOLDEN");
  REQUIRE(file != nullptr);
  {
    History history(file);
    const auto end = [&](const RunRecord& run, RunStatus status, OutcomeKind kind, std::optional<int> code) {
      Outcome outcome;
      outcome.kind = kind;
      outcome.exit_code = code;
      const std::vector<Artifact> artifacts{{"outputs/model.pkl", 5, hash_of_byte(0x55)}};
      std::optional<RunError> error;
      if (status == RunStatus::kFailed) error = RunError{.message = "it failed"};
      history.finish(run.id, status, "reason", outcome, error, at(1'700'000'200'000'000), artifacts);
    };
    RunRecord completed = golden_run(1, "train");
    completed.idempotency_key = "key-1";
    history.add_run(completed, std::vector<Artifact>{{"git/diff.patch", 3, hash_of_byte(0x33)}});
    history.set_status(completed.id, RunStatus::kRunning, "", at(1'700'000'100'000'000));
    history.add_metrics(completed.id,
                        std::vector{logged("loss", 0.5, 0), logged("loss", 0.25, 1), logged("accuracy", 0.75, 1)}, 300);
    history.add_notice(completed.id, "a notice");
    end(completed, RunStatus::kCompleted, OutcomeKind::kExited, 0);

    const RunRecord failed = golden_run(2, "train");
    history.add_run(failed);
    history.begin_next_attempt(failed.id, 1, at(1'700'000'150'000'000), "gave way", {});
    end(failed, RunStatus::kFailed, OutcomeKind::kExited, 3);

    RunRecord child = golden_run(3, "train");
    child.parent = failed.id;
    history.add_run(child);
    end(child, RunStatus::kCanceled, OutcomeKind::kCanceled, {});

    const RunRecord live = golden_run(4, "other");
    history.add_run(live);
    history.set_status(live.id, RunStatus::kRunning, "", at(1'700'000'100'000'000));
    history.add_metrics(live.id, std::vector{logged("note", "so far", 0), logged("loss", std::nan(""), 0)}, 100);
    history.add_run(golden_run(5, "other"));
    history.set_queue_place(golden_run(5, "other").id, {.priority = 2, .position = 0.5});
    write_tracking(history);
  }
  sql(file, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM;");
}
