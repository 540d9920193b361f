// Runs that a run has submitted itself, within what that run has.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/pipeline/run_queue.hpp"

namespace runner::pipeline::within {
namespace {

using Ids = std::vector<std::string>;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
const RunQueue::Time kNow{};

RunQueue::Waiting run(const std::string& id, double cpus, const std::string& within = {}) {
  static double arrivals = 0;
  RunQueue::Waiting waiting{.id = id, .place = {0, ++arrivals}, .wanted = {static_cast<std::int64_t>(cpus * 1000), 0}};
  waiting.within = within;
  return waiting;
}

Ids started(RunQueue& queue) {
  Ids ids;
  while (auto id = queue.next(kNow)) ids.push_back(*id);
  return ids;
}

}  // namespace

TEST_CASE("what a run has submitted does not wait for its end") {
  RunQueue queue({4000, 8 * kGiB});
  queue.add(run("outer", 4));
  CHECK(started(queue) == Ids{"outer"});
  queue.add(run("stranger", 4));
  queue.add(run("first", 4, "outer"));
  queue.add(run("second", 4, "outer"));
  CHECK(started(queue) == Ids{"first"});
  CHECK(queue.free().millicpus == 0);
  CHECK(queue.why("second") == "waits for room within outer, which has submitted it");
  queue.add(run("third", 4, "outer"));
  CHECK(queue.why("third") == "waits for its turn within outer, which has submitted it");
  CHECK(queue.release("first"));
  CHECK(queue.free().millicpus == 0);
  CHECK(started(queue) == Ids{"second"});
}

TEST_CASE("as many run within a run as fit in what it has") {
  RunQueue queue({8000, 8 * kGiB});
  queue.add(run("outer", 3));
  CHECK(started(queue) == Ids{"outer"});
  for (const char* id : {"a", "b"}) queue.add(run(id, 1, "outer"));
  queue.add(run("c", 1.5, "outer"));
  queue.add(run("greedy", 64, "outer"));
  CHECK(started(queue) == Ids{"a", "b"});
  CHECK(queue.free().millicpus == 5000);
  queue.release("a");
  CHECK(started(queue) == Ids{"c"});
  queue.release("b");
  CHECK(started(queue).empty());  // it has all that its outer one has, and no more
  queue.release("c");
  CHECK(started(queue) == Ids{"greedy"});
  queue.release("greedy");
  queue.release("outer");
  CHECK(queue.free() == Resources{8000, 8 * kGiB});
}

TEST_CASE("without its outer run a run is one like others") {
  RunQueue queue({4000, 8 * kGiB});
  queue.add(run("outer", 4));
  CHECK(started(queue) == Ids{"outer"});
  queue.add(run("running", 2, "outer"));
  CHECK(started(queue) == Ids{"running"});
  queue.add(run("waiting", 3, "outer"));
  queue.add(run("stranger", 4));
  SECTION("the outer one ends first") {
    queue.release("outer");
    CHECK(queue.free().millicpus == 2000);
    CHECK(started(queue).empty());
    CHECK(queue.why("waiting") == "waits for 3 CPUs (2 of 4 free); running has some");
    queue.release("running");
    CHECK(started(queue) == Ids{"waiting"});
    CHECK(queue.free().millicpus == 1000);
  }
  SECTION("it is moved, and taken away, as any other") {
    CHECK(queue.move("waiting", {0, -1}));
    CHECK(queue.remove("waiting"));
    queue.release("running");
    CHECK(started(queue).empty());
  }
  SECTION("the queue is held") {
    queue.release("running");
    queue.hold(true);
    CHECK(started(queue).empty());
    CHECK(queue.why("waiting") == "the queue is paused");
    queue.hold(false);
    CHECK(started(queue) == Ids{"waiting"});
  }
  SECTION("it waits for another's end first") {
    auto after = run("after", 1, "outer");
    after.after = {{"running", AfterEnd::kSuccess}};
    queue.remove("waiting");
    queue.add(after);
    CHECK(started(queue).empty());
    queue.release("running");
    CHECK(queue.ended("running", true).empty());
    CHECK(started(queue) == Ids{"after"});
  }
}

TEST_CASE("runs within runs within runs") {
  RunQueue queue({4000, 8 * kGiB});
  queue.add(run("outer", 4));
  CHECK(started(queue) == Ids{"outer"});
  queue.add(run("middle", 3, "outer"));
  CHECK(started(queue) == Ids{"middle"});
  queue.add(run("inner", 2, "middle"));
  queue.add(run("beside", 1, "outer"));
  CHECK(started(queue).size() == 2);
  queue.add(run("late", 2, "middle"));
  queue.release("middle");  // what it had is its outer one's again, but for what still runs
  CHECK(queue.free().millicpus == 0);
  CHECK(queue.why("late") == "waits for room within outer, which has submitted it");
  queue.release("beside");
  CHECK(started(queue) == Ids{"late"});
  queue.release("outer");
  CHECK(queue.free().millicpus == 0);
  queue.release("inner");
  queue.release("late");
  CHECK(queue.free().millicpus == 4000);
}

TEST_CASE("GPUs within a run are those that it has") {
  RunQueue queue({4000, 8 * kGiB}, GpuSlots({"0", "1", "2"}));
  auto outer = run("outer", 4);
  outer.gpus = {.count = 2};
  queue.add(outer);
  CHECK(started(queue) == Ids{"outer"});
  auto all = run("all", 1, "outer");
  all.gpus = {.count = 3};
  auto one = run("one", 1, "outer");
  one.gpus = {.count = 1};
  queue.add(all);
  CHECK(started(queue) == Ids{"all"});
  CHECK(queue.gpus_of("all") == queue.gpus_of("outer"));
  queue.add(one);
  CHECK(started(queue).empty());
  queue.release("all");
  CHECK(started(queue) == Ids{"one"});
  queue.release("outer");
  queue.release("one");
  CHECK(queue.gpus().count(queue.free().gpus) == 3);
}

TEST_CASE("an adopted run has the places on a GPU that its outer one has") {
  RunQueue queue({4000, 8 * kGiB}, GpuSlots({"0"}, 2));
  const auto adopt = [&](const std::string& id, const std::string& outer) {
    const GpuSet slots = queue.gpus().slots_of({"0"}, queue.free_gpus(outer));
    queue.occupy(id, {1000, 0, slots}, std::nullopt, outer);
  };
  adopt("outer", "");
  adopt("inner", "outer");
  CHECK(queue.gpus().count(queue.free().gpus) == 1);
  CHECK(queue.free_gpus("outer") == 0);
  auto another = run("another", 0.1, "outer");
  another.gpus = {.count = 1};
  queue.add(another);
  CHECK(started(queue).empty());
  queue.release("inner");
  CHECK(started(queue) == Ids{"another"});
}

TEST_CASE("an adopted run takes of its outer one's") {
  RunQueue queue({4000, 8 * kGiB});
  queue.occupy("outer", {4000, 0}, std::nullopt);
  queue.occupy("inner", {2000, 0}, std::nullopt, "outer");
  queue.occupy("orphan", {1000, 0}, std::nullopt, "gone");
  CHECK(queue.free().millicpus == -1000);
  queue.release("outer");
  CHECK(queue.free().millicpus == 1000);
}

TEST_CASE("a run that waits before its outer one starts is within it from then on") {
  RunQueue queue({4000, 8 * kGiB});
  queue.add(run("stranger", 4));
  CHECK(started(queue) == Ids{"stranger"});
  queue.add(run("outer", 4));
  queue.add(run("inner", 4, "outer"));
  CHECK(queue.why("inner").find("waits for 4 CPUs") == 0);
  queue.release("stranger");
  CHECK(started(queue) == Ids{"outer", "inner"});
  queue.release("inner");
  CHECK(queue.free().millicpus == 0);
  queue.remove("outer");
  queue.add(run("last", 4, "outer"));
  queue.add(run("next", 1, "outer"));
  CHECK(queue.why("next") == "waits for its turn within outer, which has submitted it");
}

TEST_CASE("a run within another one gives way when that has ended, and not before") {
  RunQueue queue({4000, 8 * kGiB});
  auto outer = run("outer", 4);
  outer.place.priority = 0;
  queue.add(outer);
  CHECK(started(queue) == Ids{"outer"});
  auto inner = run("inner", 4, "outer");
  inner.place.priority = -1;
  queue.add(inner);
  CHECK(started(queue) == Ids{"inner"});
  queue.may_give_way("inner", inner.place, std::chrono::seconds(10), kNow);
  queue.add(run("stranger", 4));
  CHECK(queue.make_way(kNow).ids.empty());
  queue.release("outer");
  CHECK(queue.make_way(kNow).ids == Ids{"inner"});
}

}  // namespace runner::pipeline::within
