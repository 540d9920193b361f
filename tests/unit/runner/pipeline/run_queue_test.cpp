#include "runner/pipeline/run_queue.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace runner::pipeline {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::Contains;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
const RunQueue::Time kNow{};

RunQueue::Waiting run(const std::string& id, double cpus, std::optional<std::chrono::milliseconds> limit = {},
                      int priority = 0, double position = 0) {
  static double arrivals = 0;
  return {.id = id,
          .place = {priority, position != 0 ? position : ++arrivals},
          .wanted = {static_cast<std::int64_t>(cpus * 1000), 0},
          .limit = limit};
}

std::vector<std::string> started(RunQueue& queue, RunQueue::Time now = kNow) {
  std::vector<std::string> ids;
  while (auto id = queue.next(now)) ids.push_back(*id);
  return ids;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("runs start by priority, then by place, as far as there is room") {
  RunQueue queue({4000, 8 * kGiB});
  for (const char* id : {"a", "b", "c"}) queue.add(run(id, 2));
  queue.add(run("urgent", 2, {}, 5));
  CHECK(started(queue) == Ids{"urgent", "a"});
  CHECK(queue.free().millicpus == 0);
  CHECK(queue.why("b") == "waits for 2 CPUs (0 of 4 free); a has some, and 1 more");
  CHECK(queue.release("a"));
  CHECK_FALSE(queue.release("a"));
  CHECK(started(queue) == Ids{"b"});
}

TEST_CASE("memory counts as CPUs do") {
  RunQueue queue({8000, 8 * kGiB});
  auto one = run("one", 1), two = run("two", 1);
  one.wanted.memory = two.wanted.memory = 5 * kGiB;
  queue.add(one);
  queue.add(two);
  CHECK(started(queue) == Ids{"one"});
  CHECK(queue.why("two") == "waits for 5.0 GiB of memory (3.0 GiB of 8.0 GiB free); one has some");
}

TEST_CASE("a run that wants more than the machine has waits for all of it") {
  RunQueue queue({4000, 8 * kGiB});
  auto huge = run("huge", 64);
  huge.wanted.memory = 100 * kGiB;
  queue.add(huge);
  CHECK(started(queue) == Ids{"huge"});
  CHECK(queue.free() == Resources{0, 0});
}

TEST_CASE("a small run overtakes a big one only where that delays it by nothing") {
  RunQueue queue({4000, 0});
  SECTION("what runs has no limit: nobody knows when the big one starts") {
    queue.add(run("running", 2));
    queue.add(run("big", 4));
    queue.add(run("small", 1));
    queue.add(run("short", 1, 1s));
    CHECK(started(queue) == Ids{"running"});
    CHECK(queue.why("small") == "comes after big, which waits for 4 CPUs");
  }
  SECTION("it ends before the big one can start") {
    queue.add(run("running", 2, 60s));
    queue.add(run("big", 4));
    queue.add(run("long", 1, 61s));
    queue.add(run("short", 1, 60s));
    CHECK(started(queue) == Ids{"running", "short"});
    queue.release("short");
    queue.add(run("late", 1, 60s));
    CHECK(started(queue, kNow + 1s).empty());
  }
  SECTION("it takes what the big one leaves") {
    queue.add(run("running", 2));
    queue.add(run("big", 3));
    queue.add(run("small", 1));
    queue.add(run("another", 1));
    CHECK(started(queue) == Ids{"running", "small"});
    queue.release("running");
    CHECK(started(queue) == Ids{"big"});
  }
  SECTION("one that comes later") {
    queue.add(run("running", 2, 60s));
    queue.add(run("big", 4));
    CHECK(started(queue) == Ids{"running"});
    queue.add(run("long", 1));
    CHECK(started(queue).empty());
    queue.add(run("short", 1, 30s));
    CHECK(started(queue) == Ids{"short"});
  }
  SECTION("one that is more urgent than the first is the first") {
    queue.add(run("running", 2));
    queue.add(run("big", 4));
    CHECK(started(queue) == Ids{"running"});
    queue.add(run("urgent", 2, {}, 1));
    CHECK(started(queue) == Ids{"urgent"});
  }
  SECTION("the big one is cancelled") {
    queue.add(run("running", 2));
    queue.add(run("big", 4));
    queue.add(run("small", 1));
    CHECK(started(queue) == Ids{"running"});
    CHECK(queue.remove("big"));
    CHECK(started(queue) == Ids{"small"});
  }
}

TEST_CASE("a run waits for the ends it comes after") {
  RunQueue queue({4000, 0});
  auto second = run("second", 1), third = run("third", 1), last = run("last", 1);
  second.after = {{"first", AfterEnd::kSuccess}};
  third.after = {{"first", AfterEnd::kAny}, {"other", AfterEnd::kAny}};
  last.after = {{"second", AfterEnd::kSuccess}};
  for (const auto& one : {run("first", 1), second, third, last}) queue.add(one);
  CHECK(started(queue) == Ids{"first"});
  CHECK(queue.why("second") == "waits for the end of first");
  CHECK(queue.why("third") == "waits for the end of first and 1 more");
  queue.release("first");
  SECTION("a success") {
    CHECK(queue.ended("first", true).empty());
    CHECK(started(queue) == Ids{"second"});
    CHECK(queue.ended("other", false).empty());
    CHECK(started(queue) == Ids{"third"});
  }
  SECTION("a failure") {
    CHECK(queue.ended("first", false) == Ids{"second"});
    CHECK(started(queue).empty());
    CHECK(queue.ended("second", false) == Ids{"last"});
    CHECK(queue.ended("other", false).empty());
    CHECK(started(queue) == Ids{"third"});
    CHECK(queue.waiting().empty());
  }
  SECTION("one that is cancelled itself waits no more") {
    CHECK(queue.remove("third"));
    CHECK(queue.ended("other", true).empty());
    CHECK(queue.ended("first", true).empty());
    CHECK(started(queue) == Ids{"second"});
  }
}

TEST_CASE("nothing starts while the queue is held") {
  RunQueue queue({4000, 0});
  queue.add(run("a", 1));
  queue.hold(true);
  CHECK(started(queue).empty());
  CHECK(queue.why("a") == "the queue is paused");
  queue.hold(false);
  CHECK(started(queue) == Ids{"a"});
}

TEST_CASE("the machine's reason to hold the queue is another one than the user's") {
  RunQueue queue({1000, 0});
  queue.add(run("low", 1, {}, -1));
  CHECK(started(queue) == Ids{"low"});
  queue.may_give_way("low", {-1, 0}, 1s, kNow);
  queue.add(run("a", 1));
  queue.hold_for("on battery");
  CHECK(started(queue).empty());
  CHECK(queue.why("a") == "the queue is held: on battery");
  CHECK(queue.make_way(kNow).ids.empty());
  CHECK(queue.first(9) == Ids{"a"});
  queue.hold(true);
  queue.hold_for("");
  CHECK(queue.why("a") == "the queue is paused");
  CHECK(queue.make_way(kNow).ids.empty());
  queue.hold(false);
  CHECK(queue.make_way(kNow).ids == Ids{"low"});
  queue.release("low");
  CHECK(started(queue) == Ids{"a"});
}

TEST_CASE("a run is moved") {
  RunQueue queue({1000, 0});
  for (const char* id : {"a", "b", "c"}) queue.add(run(id, 1));
  CHECK(started(queue) == Ids{"a"});
  CHECK(queue.move("c", {0, -1}));
  CHECK_FALSE(queue.move("a", {0, -1}));
  CHECK(queue.first(9) == Ids{"c", "b"});
  queue.release("a");
  CHECK(started(queue) == Ids{"c"});
}

TEST_CASE("a run that is adopted takes what it has, free or not") {
  RunQueue queue({2000, 0});
  queue.occupy("x", {2000, 0}, {});
  queue.occupy("y", {2000, 0}, {});
  queue.add(run("x", 1));  // it runs already
  queue.add(run("a", 1));
  CHECK(queue.free().millicpus == -2000);
  CHECK_THAT(queue.why("a"), Contains("0 of 2 free"));
  queue.release("x");
  CHECK(started(queue).empty());
  queue.release("y");
  CHECK(started(queue) == Ids{"a"});
}

TEST_CASE("runs of low priority give way to one of normal priority, no more of them than it takes") {
  RunQueue queue({4000, 0});
  const auto low = [&](const std::string& id, double cpus, int priority, std::chrono::seconds since) {
    queue.add(run(id, cpus, {}, priority));
    CHECK(started(queue) == Ids{id});
    queue.may_give_way(id, {priority, 0}, 10s, kNow + since);
  };
  SECTION("the least important first, of equals the youngest") {
    low("old", 1, -1, 1s);
    low("young", 1, -1, 2s);
    low("least", 1, -2, 0s);
    queue.add(run("normal", 3));
    const auto way = queue.make_way(kNow + 5s);
    CHECK(way.ids == Ids{"least", "young"});
    CHECK(way.to == "normal");
    CHECK(queue.make_way(kNow + 5s).ids.empty());  // each is told once
    queue.release("least");
    CHECK(started(queue).empty());
    queue.release("young");
    CHECK(started(queue) == Ids{"normal"});
    CHECK(queue.running() == Ids{"normal", "old"});
  }
  SECTION("a large one that suffices spares the others") {
    low("small", 1, -2, 0s);
    low("large", 3, -1, 0s);
    queue.add(run("normal", 3));
    CHECK(queue.make_way(kNow).ids == Ids{"large"});
  }
  SECTION("not if that is not enough") {
    queue.add(run("other", 3));
    CHECK(started(queue) == Ids{"other"});
    low("low", 1, -1, 0s);
    queue.add(run("normal", 4));
    CHECK(queue.make_way(kNow).ids.empty());
  }
  SECTION("not to another one of low priority, not while the queue is held, and not before it has started") {
    queue.add(run("low", 4, {}, -5));
    CHECK(started(queue) == Ids{"low"});
    queue.add(run("normal", 1));
    CHECK(queue.make_way(kNow).ids.empty());
    queue.may_give_way("low", {-5, 0}, 1s, kNow);
    queue.hold(true);
    CHECK(queue.make_way(kNow).ids.empty());
    queue.remove("normal");
    queue.hold(false);
    queue.add(run("also low", 1, {}, -1));
    CHECK(queue.make_way(kNow).ids.empty());
    queue.add(run("normal", 1));
    CHECK(queue.make_way(kNow).ids == Ids{"low"});
  }
  SECTION("one of normal priority never does") {
    queue.add(run("running", 4));
    CHECK(started(queue) == Ids{"running"});
    queue.may_give_way("running", {0, 0}, 1s, kNow);
    queue.add(run("urgent", 4, {}, 100));
    CHECK(queue.make_way(kNow).ids.empty());
  }
  SECTION("nothing takes what they leave before the one they left it for") {
    low("low", 4, -1, 0s);
    queue.add(run("normal", 4));
    CHECK(queue.make_way(kNow).ids == Ids{"low"});
    queue.add(run("late", 1, 1s));
    queue.release("low");
    CHECK(started(queue) == Ids{"normal"});
  }
}

TEST_CASE("GPUs are given by number or by name, each to one run") {
  RunQueue queue({8000, 0}, GpuSlots({"0", "1", "2"}));
  const auto wants = [](const std::string& id, GpuWish wish, std::optional<std::chrono::milliseconds> limit = {}) {
    auto one = run(id, 1, limit);
    one.gpus = std::move(wish);
    return one;
  };
  queue.add(wants("named", {.ids = {"1"}}));
  queue.add(wants("two", {.count = 2}));
  queue.add(wants("none", {}));
  CHECK(started(queue) == Ids{"named", "two", "none"});
  CHECK(queue.gpus_of("named") == Ids{"1"});
  CHECK(queue.gpus_of("two") == Ids{"0", "2"});
  CHECK(queue.gpus_of("none").empty());
  queue.add(wants("more than there are", {.count = 4}));
  queue.add(wants("gone", {.ids = {"7"}}));
  CHECK(queue.why("more than there are") == "waits for 4 GPUs: this machine has 3");
  CHECK(queue.why("gone") == "waits for GPU 7: this machine has 3");
  CHECK(queue.first(9).empty());
  queue.add(wants("all of them", {.count = 3}));
  CHECK(queue.why("all of them") == "waits for 3 GPUs (0 of 3 free); named has some, and 2 more");
  queue.release("named");
  // What is free now is not what it waits for in the end: that is all three.
  queue.add(wants("small", {.count = 1}));
  CHECK(started(queue).empty());
  queue.release("two");
  CHECK(started(queue) == Ids{"all of them"});
  CHECK(queue.gpus_of("all of them") == Ids{"0", "1", "2"});
  queue.release("all of them");
  CHECK(started(queue) == Ids{"small"});
  CHECK(queue.waiting().size() == 2);
}

TEST_CASE("one that overtakes takes a GPU that the first one can do without") {
  RunQueue queue({8000, 0}, GpuSlots({"0", "1"}));
  auto running = run("running", 1, 60s), first = run("first", 1), small = run("small", 1);
  running.gpus.ids = {"0"};
  first.gpus.ids = {"0"};
  small.gpus.count = 1;
  for (const auto& one : {running, first, small}) queue.add(one);
  CHECK(started(queue) == Ids{"running", "small"});
  CHECK(queue.gpus_of("small") == Ids{"1"});
}

TEST_CASE("several runs share a GPU where they may, but none has the same one twice") {
  RunQueue queue({8000, 0}, GpuSlots({"0", "1"}, 2));
  const auto wants = [](const std::string& id, int count) {
    auto one = run(id, 1);
    one.gpus.count = count;
    return one;
  };
  for (const char* id : {"a", "b", "c"}) queue.add(wants(id, 1));
  CHECK(started(queue) == Ids{"a", "b", "c"});
  queue.add(wants("two", 2));
  CHECK(started(queue).empty());  // one slot is left, of "1"
  CHECK(queue.why("two") == "waits for 2 GPUs (1 of 2 free); a has some, and 2 more");
  queue.release("a");
  CHECK(started(queue) == Ids{"two"});
  CHECK(queue.gpus_of("two").size() == 2);
}

// Against what the rules say, found out the slow way: whatever happens in whatever order, no resource is given twice, a
// run starts before an earlier one only if that one does not fit, and nothing that could start is left waiting.
TEST_CASE("random queues keep the rules") {
  std::mt19937 random(GENERATE(range(1U, 60U)));
  const auto upto = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)) + 1; };
  const GpuSlots gpus({"0", "1", "2", "3"});
  RunQueue queue({8000, 16 * kGiB}, gpus);
  std::map<std::string, RunQueue::Waiting> known;
  std::set<std::string> running;
  std::map<std::string, std::optional<RunQueue::Time>> ends;
  auto now = kNow;
  int made = 0;
  for (int step = 0; step < 400; ++step) {
    now += std::chrono::seconds(upto(5));
    switch (upto(5)) {
      case 1:
      case 2:
      case 3: {
        auto one =
            run("r" + std::to_string(made++), upto(8),
                upto(2) == 1 ? std::optional<std::chrono::milliseconds>(std::chrono::seconds(upto(100))) : std::nullopt,
                upto(3));
        one.wanted.memory = upto(16) * kGiB;
        if (upto(3) == 1) one.gpus.count = upto(4);
        if (upto(6) == 1) one.gpus = {.count = 0, .ids = {std::to_string(upto(4) - 1)}};
        known.emplace(one.id, one);
        queue.add(one);
        break;
      }
      case 4:
        if (!running.empty()) {
          const std::string id = *std::next(running.begin(), upto(static_cast<int>(running.size())) - 1);
          running.erase(id);
          CHECK(queue.release(id));
        }
        break;
      default:
        if (auto waiting = queue.waiting(); !waiting.empty())
          CHECK(queue.remove(waiting[static_cast<std::size_t>(upto(static_cast<int>(waiting.size()))) - 1].id));
    }
    for (;;) {
      const auto before = queue.waiting();
      const Resources free = queue.free();
      const auto id = queue.next(now);
      if (!id) break;
      CHECK(running.insert(*id).second);
      const auto limit = known.at(*id).limit;
      ends[*id] = limit ? std::optional(now + *limit) : std::nullopt;
      CHECK(fits(known.at(*id).wanted, free));
      CHECK(gpus.choose(known.at(*id).gpus, free.gpus));
      if (*id != before.front().id)
        CHECK_FALSE((fits(before.front().wanted, free) && gpus.choose(before.front().gpus, free.gpus)));
    }
    Resources used;
    for (const std::string& id : running) {
      used.millicpus += known.at(id).wanted.millicpus;
      used.memory += known.at(id).wanted.memory;
      const GpuSet its = gpus.slots_of(queue.gpus_of(id), gpus.all());
      CHECK(gpus.choose(known.at(id).gpus, its) == its);
      CHECK((used.gpus & its) == 0);
      used.gpus |= its;
    }
    CHECK(queue.free() == Resources{8000 - used.millicpus, 16 * kGiB - used.memory, gpus.all() & ~used.gpus});
    // One that looks at everything anew finds nothing to start either.
    RunQueue fresh(queue.machine(), gpus);
    for (const std::string& id : running) {
      Resources taken = known.at(id).wanted;
      taken.gpus = gpus.slots_of(queue.gpus_of(id), gpus.all());
      fresh.occupy(id, taken, ends.at(id));
    }
    for (const auto& one : queue.waiting()) fresh.add(one);
    CHECK_FALSE(fresh.next(now));
  }
  // Everything comes to its turn.
  std::size_t bound = 10'000;
  while ((!running.empty() || !queue.waiting().empty()) && --bound > 0) {
    while (auto id = queue.next(now)) running.insert(*id);
    if (running.empty()) break;
    queue.release(*running.begin());
    running.erase(running.begin());
    now += 1s;
  }
  CHECK(queue.waiting().empty());
}

TEST_CASE("ten thousand runs wait cheaply") {
  RunQueue queue({4000, 0});
  queue.add(run("running", 2, 60s));
  queue.add(run("big", 4));
  CHECK(started(queue) == Ids{"running"});
  for (int i = 0; i < 10'000; ++i) {
    queue.add(run("q" + std::to_string(i), 3));
    CHECK_FALSE(queue.next(kNow));
  }
  CHECK(queue.waiting().size() == 10'001);
}

}  // namespace runner::pipeline
