#include <set>

#include "fixture.hpp"
#include "runner/core/run_bounds.hpp"
#include "store/history.hpp"
#include "store/history_check.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

const std::string kTop = "train_1_00000001";
using Ids = std::vector<std::string>;

std::string uuid(int number) {
  std::string digits = std::to_string(number);
  return "00000000-0000-4000-8000-" + std::string(12 - digits.size(), '0') + digits;
}

std::vector<NewChild> children(int first, int count) {
  std::vector<NewChild> all;
  for (int i = first; i < first + count; ++i) all.push_back({.id = uuid(i), .name = "child " + std::to_string(i)});
  return all;
}

Outcome exited(int code) { return {.kind = OutcomeKind::kExited, .exit_code = code}; }

Ids ids(const std::vector<RunRecord>& runs) {
  Ids all;
  for (const RunRecord& run : runs) all.push_back(run.id);
  return all;
}

// kTop → 1 → 2; kTop → 3; kTop → "script" → 4.
struct Family {
  TemporaryDirectory directory;
  History history{directory / "runner.db"};
  const std::string script = "train_1_00000002";
  Family() {
    history.add_run(sample_run(kTop));
    history.add_children(kTop, children(1, 1), at(5));
    history.add_children(uuid(1), children(2, 1), at(6));
    history.add_children(kTop, children(3, 1), at(7));
    RunRecord submitted = sample_run(script);
    submitted.parent = kTop;
    history.add_run(submitted);
    history.add_children(script, children(4, 1), at(8));
  }
  void check_sound() {
    for (const RowProblem& problem : history.check_rows([] {})->problems()) FAIL_CHECK(problem.text);
  }
};

}  // namespace

TEST_CASE("Children are there with all that was said of them, Running, in order") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kTop, "sweep"));
  auto wanted = children(1, 3);
  wanted[1].tags = {{"lr", "0.1"}, {"bare", std::nullopt}};
  wanted[1].properties = {{"p", "v"}};
  const auto added = history.add_children(kTop, wanted, at(50));
  REQUIRE(ids(added) == Ids{uuid(1), uuid(2), uuid(3)});
  const RunRecord child = history.get(uuid(2));
  CHECK(child.kind == RunKind::kChild);
  CHECK(child.status == RunStatus::kRunning);
  CHECK(child.experiment == "sweep");
  CHECK(child.parent == kTop);
  CHECK(child.name == history.get(kTop).name + ">child 2");
  CHECK(child.created == at(50));
  CHECK(child.started == at(50));
  CHECK(child.tags == wanted[1].tags);
  CHECK(child.properties == wanted[1].properties);
  CHECK(child.queue.position == added[1].queue.position);
  CHECK(added[1].experiment == "sweep");
  CHECK(history.get(kTop).kind == RunKind::kScript);
  RunFilter filter;
  filter.parent = kTop;
  CHECK(ids(history.list(filter)) == Ids{uuid(3), uuid(2), uuid(1)});
}

TEST_CASE("Children come all or not at all, and not of a parent that has ended") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kTop));
  auto twice = children(1, 2);
  twice[1].id = twice[0].id;
  CHECK(error_of([&] { history.add_children(kTop, twice, at(1)); }).code() == ErrorCode::kConflict);
  RunFilter filter;
  filter.parent = kTop;
  CHECK(history.list(filter).empty());
  CHECK(error_of([&] { history.add_children("nobody", children(1, 1), at(1)); }).code() == ErrorCode::kNotFound);
  history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(9), {});
  CHECK(error_of([&] { history.add_children(kTop, children(1, 1), at(1)); }).code() == ErrorCode::kConflict);
}

TEST_CASE("Children that are asked for again are there once, and a number names those without a name") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kTop));
  history.add_run(sample_run("train_1_00000002"));
  history.add_children(kTop, children(1, 1), at(1));
  history.update(uuid(1), {.tags = {{"seen", std::nullopt}}}, at(2));
  auto again = children(1, 3);
  again[1].name.clear();
  const auto runs = history.add_children(kTop, again, at(3));
  REQUIRE(ids(runs) == Ids{uuid(1), uuid(2), uuid(3)});
  CHECK(runs[0].created == at(1));
  CHECK(runs[0].tags.contains("seen"));
  CHECK(runs[1].created == at(3));
  CHECK(runs[1].name == history.get(kTop).name + ">2");
  CHECK(history.get(uuid(2)).name == runs[1].name);
  CHECK(error_of([&] { history.add_children("train_1_00000002", children(1, 1), at(1)); }).code() ==
        ErrorCode::kConflict);
  history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(9), {});
  CHECK(ids(history.add_children(kTop, again, at(10))) == Ids{uuid(1), uuid(2), uuid(3)});
  CHECK(error_of([&] { history.add_children(kTop, children(3, 2), at(10)); }).code() == ErrorCode::kConflict);
}

TEST_CASE("Ten thousand children are one transaction") {
  const TemporaryDirectory directory;
  crash_after([&] {
    History history(directory / "runner.db");
    history.add_run(sample_run(kTop));
    history.add_children(kTop, children(0, 10'000), at(1));
  });
  History history(directory / "runner.db");
  RunFilter filter;
  filter.parent = kTop;
  filter.limit = 1;
  CHECK(history.list(filter).front().id == uuid(9999));
  CHECK(sql(directory / "runner.db", "SELECT count(*) FROM run") == "10001");
  CHECK(history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(2), {}).size() == 10'001);
}

TEST_CASE("Children are listed at any depth, with the same filters") {
  Family family;
  RunFilter filter;
  filter.parent = kTop;
  CHECK(ids(family.history.list(filter)) == Ids{family.script, uuid(3), uuid(1)});
  filter.recursive = true;
  CHECK(ids(family.history.list(filter)) == Ids{uuid(4), family.script, uuid(3), uuid(2), uuid(1)});
  filter.kind = RunKind::kChild;
  filter.limit = 2;
  CHECK(ids(family.history.list(filter)) == Ids{uuid(4), uuid(3)});
  filter.parent = uuid(2);
  CHECK(family.history.list(filter).empty());
  CHECK(family.history.lineage(uuid(2)) == Ids{uuid(2), uuid(1), kTop});
  CHECK(family.history.lineage(kTop) == Ids{kTop});
  CHECK(error_of([&] { family.history.lineage("nobody"); }).code() == ErrorCode::kNotFound);
  family.check_sound();
}

TEST_CASE("A run without a script ends when it is told to, a script's does not") {
  Family family;
  CHECK(error_of([&] { family.history.end(family.script, RunStatus::kCompleted, "", {}, at(9)); }).code() ==
        ErrorCode::kConflict);
  CHECK(error_of([&] { family.history.end("nobody", RunStatus::kCompleted, "", {}, at(9)); }).code() ==
        ErrorCode::kNotFound);
  CHECK(family.history.end(uuid(3), RunStatus::kFailed, "it broke", RunError{.code = "E", .message = "m"}, at(9)) ==
        Ids{uuid(3)});
  CHECK(family.history.end(uuid(3), RunStatus::kCompleted, "", {}, at(10)).empty());
  const RunRecord failed = family.history.get(uuid(3));
  CHECK(failed.status == RunStatus::kFailed);
  CHECK(failed.status_reason == "it broke");
  CHECK(failed.ended == at(9));
  CHECK(failed.error->code == "E");
  CHECK(final_status_of(*failed.outcome) == RunStatus::kFailed);
  RunRecord interactive = sample_run(uuid(100));
  interactive.kind = RunKind::kInteractive;
  family.history.add_run(interactive);
  CHECK(family.history.end(uuid(100), RunStatus::kCanceled, "", {}, at(9)) == Ids{uuid(100)});
  CHECK(family.history.get(uuid(100)).outcome->kind == OutcomeKind::kCanceled);
  family.check_sound();
}

TEST_CASE("What a parent leaves open ends with it, but not what has a script of its own") {
  Family family;
  SECTION("completed with a parent that is") {
    CHECK(family.history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(20), {}) ==
          Ids{kTop, uuid(1), uuid(3), uuid(2)});
    CHECK(family.history.get(uuid(2)).status == RunStatus::kCompleted);
    CHECK(family.history.get(uuid(2)).ended == at(20));
  }
  SECTION("else cancelled, and it says why") {
    family.history.end(uuid(3), RunStatus::kCompleted, "", {}, at(10));
    CHECK(family.history.finish(kTop, RunStatus::kFailed, "", exited(3), {}, at(20), {}) ==
          Ids{kTop, uuid(1), uuid(2)});
    CHECK(family.history.get(uuid(2)).status == RunStatus::kCanceled);
    CHECK(family.history.get(uuid(2)).status_reason == "its parent ended");
    CHECK(family.history.get(uuid(3)).status == RunStatus::kCompleted);
  }
  SECTION("of a child the same") {
    CHECK(family.history.end(uuid(1), RunStatus::kFailed, "", {}, at(20)) == Ids{uuid(1), uuid(2)});
    CHECK(family.history.get(uuid(2)).status == RunStatus::kCanceled);
    family.history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(21), {});
  }
  SECTION("and of an attempt that gave way") {
    const Ids ended = family.history.begin_next_attempt(kTop, 1, at(20), "gave way", {});
    CHECK(ended.front() == kTop);
    CHECK(std::set<std::string>(ended.begin() + 1, ended.end()) == std::set<std::string>{uuid(1), uuid(2), uuid(3)});
    CHECK(family.history.get(uuid(2)).status == RunStatus::kCanceled);
    CHECK(family.history.get(uuid(2)).status_reason == "its parent was started again");
    family.history.finish(kTop, RunStatus::kCompleted, "", exited(0), {}, at(21), {});
  }
  CHECK(family.history.get(family.script).status == RunStatus::kQueued);
  CHECK(family.history.get(uuid(4)).status == RunStatus::kRunning);
  family.check_sound();
}

TEST_CASE("A child's display name is bounded, and keeps the child's own part") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  RunRecord top = sample_run(kTop);
  top.name = std::string(kMaxRunName, 'p');
  history.add_run(top);
  auto wanted = children(1, 2);
  wanted[0].name = "own";
  wanted[1].name = std::string(kMaxRunName, 'c');
  const auto runs = history.add_children(kTop, wanted, at(1));
  CHECK(runs[0].name.size() == kMaxRunName);
  CHECK_THAT(runs[0].name, Catch::StartsWith("ppp") && Catch::EndsWith("p…>own"));
  CHECK(runs[1].name.size() <= kMaxRunName);
  CHECK_THAT(runs[1].name, Catch::StartsWith(">ccc"));
}

TEST_CASE("Below a run there are no more than a hundred thousand, however deep they are") {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory / "runner.db";
  History history(file);
  history.add_run(sample_run(kTop));
  history.add_children(kTop, children(1, 1), at(5));
  history.add_run(sample_run("train_1_00000002"));
  // As they would be, without what nobody asks for here.
  const std::string insert =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99997)"
      " INSERT INTO run(id, experiment, parent, name, status, status_reason, created, attempt, priority,"
      " environment, kind)"
      " SELECT 'made-' || i, 1, (SELECT seq FROM run WHERE id = '" +
      uuid(1) + "'), 'n', 'Running', '', 1, 1, 0, '{}', 'child' FROM n";
  REQUIRE(sql(file, insert).empty());
  CHECK_NOTHROW(history.add_children(uuid(1), children(2, 1), at(6)));
  CHECK_NOTHROW(history.add_children(kTop, children(3, 1), at(6)));  // the last one
  const Error refused = error_of([&] { history.add_children(uuid(2), children(4, 1), at(7)); });
  CHECK(refused.code() == ErrorCode::kConflict);
  CHECK_THAT(refused.message(), Catch::Contains(kTop) && Catch::Contains("100000"));
  CHECK(error_of([&] { history.get(uuid(4)); }).code() == ErrorCode::kNotFound);
  CHECK_NOTHROW(history.add_children(uuid(1), children(2, 1), at(8)));  // it is there already
  CHECK_NOTHROW(history.add_children("train_1_00000002", children(5, 1), at(8)));
}

TEST_CASE("What a script asks for is a run only while that attempt lives and nobody has asked it to stop") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kTop));
  history.add_children(kTop, children(1, 1), at(1));
  int number = 1;
  const auto asked = [&](const std::string& parent, int attempt) {
    RunRecord run = sample_run("train_2_0000000" + std::to_string(number++));
    run.parent = parent;
    return history.add_run(run, {}, History::Asker{.run = kTop, .attempt = attempt});
  };
  CHECK_FALSE(asked(kTop, 1).existed);
  CHECK_FALSE(asked(uuid(1), 1).existed);
  CHECK(error_of([&] { asked(kTop, 2); }).code() == ErrorCode::kConflict);
  history.end(uuid(1), RunStatus::kCompleted, "", {}, at(2));
  CHECK(error_of([&] { asked(uuid(1), 1); }).code() == ErrorCode::kConflict);
  history.request_cancel(kTop, {.reason = "x"});
  CHECK(error_of([&] { asked(kTop, 1); }).code() == ErrorCode::kConflict);
  history.finish(kTop, RunStatus::kCanceled, "", {.kind = OutcomeKind::kCanceled}, {}, at(3), {});
  CHECK(error_of([&] { asked(kTop, 1); }).code() == ErrorCode::kConflict);
  RunFilter below;
  below.parent = kTop;
  below.recursive = true;
  CHECK(history.list(below).size() == 3);
}

TEST_CASE("What is below the runs that scripts have submitted counts for the run that a user has submitted") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kTop));
  RunRecord inner = sample_run("train_2_00000001");
  inner.parent = kTop;
  inner.definition.within = kTop;
  history.add_run(inner, {}, History::Asker{.run = kTop});
  constexpr int kAtOnce = 10'000;
  for (int i = 0; i + kAtOnce < static_cast<int>(kMaxRunsBelow); i += kAtOnce)
    history.add_children(inner.id, children(1 + i, kAtOnce), at(1));
  history.add_children(kTop, children(500'000, kAtOnce - 1), at(1));
  RunRecord more = sample_run("train_2_00000002");
  more.parent = inner.id;
  more.definition.within = inner.id;
  CHECK(error_of([&] { history.add_run(more, {}, History::Asker{.run = inner.id}); }).code() == ErrorCode::kConflict);
  CHECK(error_of([&] { history.add_children(inner.id, children(600'000, 1), at(1)); }).code() == ErrorCode::kConflict);
  RunFilter below{.kind = RunKind::kScript, .parent = kTop};
  CHECK(history.list(below).size() == 1);
  more.parent = kTop;
  CHECK_NOTHROW(history.add_run(more));  // the user's own
}
