// Which of the waiting runs starts next, and why the others wait. The order is by priority, then by place. The first
// run that does not fit keeps what it needs: a later one overtakes it only where that delays it by nothing (EASY
// backfill, D. Lifka, "The ANL/IBM SP scheduling system", 1995), judged by the time limits of what runs; what has none
// is taken to run for ever. No clock, no thread: the scheduler lends both.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::pipeline {

struct Resources {
  std::int64_t millicpus = 0;
  std::int64_t memory = 0;  // bytes
  bool operator==(const Resources&) const = default;
};
bool fits(const Resources& wanted, const Resources& free);
// "1.5 CPUs and 2.0 GiB of memory"; without what is 0.
std::string to_text(const Resources& resources);

class RunQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Waiting {
    std::string id;
    QueuePlace place;
    Resources wanted;
    std::optional<std::chrono::milliseconds> limit{};  // from the start until nothing of it is left
    std::map<std::string, AfterEnd> after{};           // runs that have not ended
  };

  explicit RunQueue(const Resources& machine) : machine_(machine), free_(machine) {}

  // Ignored for a run that waits or runs. One that wants more than the machine has waits for all of it.
  void add(Waiting run);
  bool remove(const std::string& id);                         // true: it waited
  bool move(const std::string& id, const QueuePlace& place);  // true: it waits
  // Takes its resources though nobody asked whether they are free: it runs already. `end`: when its limit ends it.
  void occupy(const std::string& id, const Resources& taken, std::optional<Time> end);
  bool release(const std::string& id);  // true: it had some
  // `id` has ended. Gives and removes those that wait for another end than this.
  std::vector<std::string> ended(const std::string& id, bool success);
  // Nothing starts while it is held.
  void hold(bool held);
  bool held() const { return held_; }
  // The same for a reason of the machine's ("on battery"), beside what the user holds; empty: no more.
  void hold_for(const std::string& reason);
  const std::string& held_for() const { return held_for_; }

  // The run that starts now: it waits no more, and occupies.
  std::optional<std::string> next(Time now);
  // Why a run that waits does not start, for people; empty: it does not wait, or starts at once.
  std::string why(const std::string& id) const;
  // In order; those that wait for other runs' ends as well.
  std::vector<Waiting> waiting() const;
  // The first of those that nothing but resources or a hold keep; none if one of them is about to start.
  std::vector<std::string> first(std::size_t most) const;

  std::vector<std::string> running() const;  // ids
  const Resources& machine() const { return machine_; }
  const Resources& free() const { return free_; }  // negative where adopted runs take more than there is

 private:
  using Key = std::tuple<int, double, std::string>;  // (-priority, position, id): the smallest is next
  struct Taken {
    Resources resources;
    std::optional<Time> end;
  };
  struct Reservation {
    std::optional<Time> start;  // of the first run; nothing: when something ends that has no limit
    Resources spare;            // what is free beside it then
  };
  static Key key_of(const Waiting& run) { return {-run.place.priority, run.place.position, run.id}; }
  Reservation reserve(const Resources& wanted) const;
  bool may_overtake(const Waiting& run, const Reservation& first, Time now) const;
  void make_ready(const Waiting& run);

  const Resources machine_;
  Resources free_;
  bool held_ = false;
  std::string held_for_;
  std::map<std::string, Waiting> waiting_;                   // by id
  std::map<Key, std::string> ready_;                         // those that wait for resources only
  std::map<std::string, std::set<std::string>> dependents_;  // by the run whose end they wait for
  std::map<std::string, Taken> taken_;
  // Between two changes of what is free only newcomers can have become startable.
  bool all_seen_ = false;
  std::vector<Key> newcomers_;
};

}  // namespace runner::pipeline
