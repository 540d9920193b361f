#include <catch2/catch.hpp>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "runner/pipeline/scheduler.hpp"

namespace {

// Collects what the scheduler started; waits for the n-th start with a deadline.
class Starts {
 public:
  void add(const std::string& id) {
    {
      const std::lock_guard lock(mutex_);
      ids_.push_back(id);
    }
    changed_.notify_all();
  }
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return ids_.size() >= count; });
    return ids_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> ids_;
};

using Ids = std::vector<std::string>;

runner::pipeline::RunQueue::Waiting run(const std::string& id, int priority) {
  static double arrivals = 0;
  return {.id = id, .place = {priority, ++arrivals}, .wanted = {1000, 0}};
}

runner::pipeline::Scheduler::Callbacks callbacks(Starts& starts) {
  return {.start = [&](const std::string& id) { starts.add(id); },
          .give_way =
              [&](const std::string& id, const std::string& to) {
                starts.add(id + " gives way to " + to);
                return id != "deaf";
              }};
}

}  // namespace

TEST_CASE("who is held up is known, in the order of their turns, and nobody is while a slot is free") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  CHECK(scheduler.held_up(2).empty());
  scheduler.enqueue(run("a", 0));
  starts.wait_for(1);
  CHECK(scheduler.held_up(2).empty());
  for (const char* id : {"b", "c", "d"}) scheduler.enqueue(run(id, 0));
  scheduler.enqueue(run("urgent", 5));
  CHECK(scheduler.held_up(2) == Ids{"urgent", "b"});
  CHECK(scheduler.held_up(9) == Ids{"urgent", "b", "c", "d"});
  scheduler.withdraw("b");
  CHECK(scheduler.held_up(2) == Ids{"urgent", "c"});
}

TEST_CASE("with one slot the next run starts when the slot is released, in the order of submission") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  scheduler.enqueue(run("a", 0));
  CHECK(starts.wait_for(1) == Ids{"a"});
  scheduler.enqueue(run("b", 0));
  scheduler.enqueue(run("c", 0));
  scheduler.release("a");
  CHECK(starts.wait_for(2) == Ids{"a", "b"});
  scheduler.release("b");
  CHECK(starts.wait_for(3) == Ids{"a", "b", "c"});
}

TEST_CASE("a higher priority goes first") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  scheduler.occupy("adopted", {1000, 0}, {}, {});
  scheduler.enqueue(run("low", -1));
  scheduler.enqueue(run("normal", 0));
  scheduler.enqueue(run("high", 5));
  scheduler.release("adopted");
  starts.wait_for(1);
  scheduler.release("high");
  starts.wait_for(2);
  scheduler.release("normal");
  CHECK(starts.wait_for(3) == Ids{"high", "normal", "low"});
}

TEST_CASE("a withdrawn run never starts and only a waiting one can be withdrawn") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  scheduler.enqueue(run("a", 0));
  starts.wait_for(1);
  scheduler.enqueue(run("b", 0));
  scheduler.enqueue(run("c", 0));
  CHECK(scheduler.withdraw("b"));
  CHECK_FALSE(scheduler.withdraw("b"));
  CHECK_FALSE(scheduler.withdraw("a"));
  scheduler.release("a");
  CHECK(starts.wait_for(2) == Ids{"a", "c"});
}

TEST_CASE("parallel slots start runs at once, and posted work does not wait for a slot") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({2000, 0}, {}, false, callbacks(starts));
  scheduler.enqueue(run("a", 0));
  scheduler.enqueue(run("b", 0));
  scheduler.enqueue(run("c", 0));
  CHECK(starts.wait_for(2).size() == 2);
  scheduler.post([&] { starts.add("collected"); });
  CHECK(starts.wait_for(3).back() == "collected");
}

TEST_CASE("a run is queued once however often it is enqueued") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  scheduler.occupy("x", {1000, 0}, {}, {});
  scheduler.enqueue(run("a", 0));
  scheduler.enqueue(run("a", 0));
  scheduler.release("x");
  starts.wait_for(1);
  CHECK_FALSE(scheduler.withdraw("a"));
  scheduler.enqueue(run("b", 0));
  scheduler.release("a");
  CHECK(starts.wait_for(2) == Ids{"a", "b"});
}

TEST_CASE("a run that has started gives way when one of normal priority waits, and is told once") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({1000, 0}, {}, false, callbacks(starts));
  scheduler.enqueue(run("low", -1));
  starts.wait_for(1);
  scheduler.enqueue(run("normal", 0));
  CHECK(starts.wait_for(1) == Ids{"low"});  // it is being started: told when it is
  scheduler.started("low", {-1, 1}, std::chrono::seconds{1});
  CHECK(starts.wait_for(2) == Ids{"low", "low gives way to normal"});
  scheduler.enqueue(run("another", 0));
  scheduler.release("low");
  CHECK(starts.wait_for(3).back() == "normal");
  scheduler.enqueue(run("low", -1));
  scheduler.release("normal");
  CHECK(starts.wait_for(4).back() == "another");
  scheduler.release("another");
  CHECK(starts.wait_for(5) == Ids{"low", "low gives way to normal", "normal", "another", "low"});
}

TEST_CASE("where one cannot be told to give way another is asked in its place") {
  Starts starts;
  runner::pipeline::Scheduler scheduler({2000, 0}, {}, false, callbacks(starts));
  for (const char* id : {"deaf", "low"}) scheduler.enqueue(run(id, -1));
  starts.wait_for(2);
  scheduler.started("deaf", {-2, 1}, std::chrono::seconds{1});
  scheduler.started("low", {-1, 2}, std::chrono::seconds{1});
  scheduler.enqueue(run("normal", 0));
  const Ids all = starts.wait_for(4);
  CHECK(Ids(all.begin() + 2, all.end()) == Ids{"deaf gives way to normal", "low gives way to normal"});
  scheduler.release("low");
  CHECK(starts.wait_for(5).back() == "normal");
}

TEST_CASE("a GPU is given to one run, and an adopted run keeps its own") {
  Starts starts;
  const runner::pipeline::GpuSlots gpus({"0", "1"});
  runner::pipeline::Scheduler scheduler({8000, 0}, gpus, false, callbacks(starts));
  scheduler.occupy("adopted", {1000, 0}, {"0", "gone"}, {});
  for (const char* id : {"a", "b"}) {
    auto wanting = run(id, 0);
    wanting.gpus.count = 1;
    scheduler.enqueue(wanting);
  }
  starts.wait_for(1);
  CHECK(scheduler.gpus_of("a") == Ids{"1"});
  CHECK(scheduler.why("b") == "waits for 1 GPU (0 of 2 free); a has some, and 1 more");
  CHECK(scheduler.state().free_gpus == 0);
  scheduler.release("adopted");
  CHECK(starts.wait_for(2) == Ids{"a", "b"});
  CHECK(scheduler.gpus_of("b") == Ids{"0"});
}
