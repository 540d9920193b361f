// What ends a run before its time: a cancellation that takes its children, an attempt that gives way.
#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

TEST_CASE("A run is cancelled with all that descends from it and has not ended, or alone") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const auto add = [&](const std::string& id, const std::string& parent) {
    RunRecord run = sample_run(id);
    run.idempotency_key.reset();
    run.parent.reset();
    if (!parent.empty()) run.parent = parent;
    history.add_run(run);
    return id;
  };
  const std::string top = add("t_1_00000001", ""), child = add("t_1_00000002", top), ended = add("t_1_00000003", top),
                    grandchild = add("t_1_00000004", ended), other = add("t_1_00000005", "");
  REQUIRE(history.finish(ended, RunStatus::kCompleted, "", Outcome{.kind = OutcomeKind::kExited}, std::nullopt, at(3),
                         {}) == std::vector{ended});
  SECTION("with them") {
    CHECK(history.request_cancel(top, {.reason = "enough", .fails = true, .recursive = true}) ==
          std::vector{top, child, grandchild});
    CHECK(history.cancel_fails(top));
    CHECK_FALSE(history.cancel_fails(child));
    CHECK(history.get(grandchild).status == RunStatus::kCancelRequested);
    CHECK(history.get(grandchild).status_reason == "with its parent " + top + ": enough");
    CHECK(history.get(ended).status == RunStatus::kCompleted);
  }
  SECTION("the parent has ended already") {
    CHECK(history.request_cancel(ended, {.reason = "enough", .recursive = true}) == std::vector{grandchild});
  }
  SECTION("alone") {
    CHECK(history.request_cancel(top, {.reason = "enough"}) == std::vector{top});
    CHECK(history.get(child).status != RunStatus::kCancelRequested);
  }
  CHECK(history.get(other).status != RunStatus::kCancelRequested);
}

TEST_CASE("The next attempt of a run begins with nothing but what the earlier ones left") {
  const TemporaryDirectory directory;
  const std::string id = "train_1_00000001";
  {
    History history(directory / "runner.db");
    history.add_run(sample_run(id));
    history.set_status(id, RunStatus::kRunning, "", at(5));
    history.set_gpus(id, {"0", "GPU-1"});
    CHECK(history.get(id).gpus == std::vector<std::string>{"0", "GPU-1"});
    history.add_metrics(id, std::vector{point("loss", 1.0), row("rows", {"a"}, R"({"a":1})")}, 100);
    const Artifact log{"attempts/1/user_logs/std_log.txt", 3, hash_of_byte(1)};
    history.add_artifacts(
        id, std::vector{Artifact{"outputs/model", 4, hash_of_byte(2)}, Artifact{"git/diff.patch", 5, hash_of_byte(3)}});
    CHECK(history.begin_next_attempt(id, 2, at(9), "gave way to x", {}).empty());  // it is at its first
    CHECK(history.begin_next_attempt(id, 1, at(9), "gave way to x", std::vector{log}) == std::vector{id});
    CHECK(history.begin_next_attempt(id, 1, at(9), "gave way to x", std::vector{log}).empty());  // said twice
  }
  History history(directory / "runner.db");
  const RunRecord run = history.get(id);
  CHECK(run.attempt == 2);
  CHECK(run.status == RunStatus::kQueued);
  CHECK(run.started == std::nullopt);
  CHECK(run.gpus.empty());
  REQUIRE(run.earlier_attempts.size() == 1);
  CHECK(run.earlier_attempts[0].number == 1);
  CHECK(run.earlier_attempts[0].started == at(5));
  CHECK(run.earlier_attempts[0].ended == at(9));
  CHECK(run.earlier_attempts[0].reason == "gave way to x");
  std::vector<std::string> names;
  for (const Artifact& artifact : history.artifacts(id)) names.push_back(artifact.name);
  CHECK(names ==
        std::vector<std::string>{"attempts/1/outputs/model", "attempts/1/user_logs/std_log.txt", "git/diff.patch"});
  CHECK(history.artifact(id, "attempts/1/outputs/model")->bytes == 4);
  CHECK_FALSE(history.artifact(id, "outputs/model"));
  CHECK(history.artifact_count(id) == 3);
  CHECK(history.metric_summaries(id).empty());
  CHECK(history.journal_offset(id) == 0);
  SECTION("what comes late of an earlier one is not taken for this one's") {
    CHECK_FALSE(history.set_status(id, RunStatus::kRunning, "", at(9), 1));
    CHECK(history.get(id).status == RunStatus::kQueued);
    history.add_metrics(id, std::vector{point("loss", 1.0)}, 200, 1);
    CHECK(history.journal_offset(id) == 0);
    CHECK(history.set_status(id, RunStatus::kRunning, "", at(9), 2));
    history.add_metrics(id, {}, 200, 2);
    CHECK(history.journal_offset(id) == 200);
  }
  SECTION("one that is to be cancelled has none, whatever its status has become since") {
    history.request_cancel(id, {.reason = "enough"});
    history.set_status(id, RunStatus::kFinalizing, "waiting to store the outputs");
    CHECK(history.begin_next_attempt(id, 2, at(10), "", {}).empty());
  }
  SECTION("nor has one that has ended") {
    history.finish(id, RunStatus::kCompleted, "", Outcome{.kind = OutcomeKind::kExited}, std::nullopt, at(12), {});
    CHECK(history.begin_next_attempt(id, 2, at(13), "", {}).empty());
  }
}
