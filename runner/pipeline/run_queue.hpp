// Which of the waiting runs starts next, and why the others wait. The order is by priority, then by place. The first
// run that does not fit keeps what it needs: a later one overtakes it only where that delays it by nothing (EASY
// backfill, D. Lifka, "The ANL/IBM SP scheduling system", 1995), judged by the time limits of what runs; what has none
// is taken to run for ever. Where a run of normal priority waits for what runs of low priority have, those give way:
// they are ended, and wait again. What a run has submitted itself runs within what that run has, as the steps of a job
// of Slurm do: the run is taken to wait for them, and would wait for ever if they came after it. No clock, no thread:
// the scheduler lends both.
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
#include "runner/pipeline/gpu_slots.hpp"

namespace runner::pipeline {

struct Resources {
  std::int64_t millicpus = 0;
  std::int64_t memory = 0;  // bytes
  GpuSet gpus = 0;          // of what is taken or free; a wish for GPUs names none yet
  bool operator==(const Resources&) const = default;
};
bool fits(const Resources& wanted, const Resources& free);  // but for GPUs
// "1.5 CPUs and 2.0 GiB of memory"; without what is 0.
std::string to_text(const Resources& resources);

// A run below this priority gives way to one at or above it.
inline constexpr int kNormalPriority = 0;

class RunQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Waiting {
    std::string id;
    QueuePlace place;
    Resources wanted;
    GpuWish gpus{};
    std::optional<std::chrono::milliseconds> limit{};  // from the start until nothing of it is left
    std::map<std::string, AfterEnd> after{};           // runs that have not ended
    std::string within{};  // the run that has submitted it: takes of what that one has, while that one occupies
  };

  // `machine.gpus` is not looked at: all of `gpus` are there.
  explicit RunQueue(const Resources& machine, GpuSlots gpus = {});

  // Ignored for a run that waits or runs. One that wants more CPUs or memory than the machine has waits for all of it;
  // one that wants GPUs that are not there waits, and is in nobody's way.
  void add(Waiting run);
  bool remove(const std::string& id);                         // true: it waited
  bool move(const std::string& id, const QueuePlace& place);  // true: it waits
  // Takes its resources though nobody asked whether they are free: it runs already. `end`: when its limit ends it.
  // `within`: as of Waiting; the outer one comes first.
  void occupy(const std::string& id, const Resources& taken, std::optional<Time> end, const std::string& within = {});
  // Those that run may be asked to give way: called when `id`, which occupies, has started. Without effect for one of
  // normal priority.
  void may_give_way(const std::string& id, const QueuePlace& place, std::chrono::milliseconds grace, Time now);
  // The runs that are to end now so that the first one that waits can start; each is named once, or again after
  // not_told().
  struct GiveWay {
    std::vector<std::string> ids;
    std::string to;
  };
  GiveWay make_way(Time now);
  // One of those could not be told: others may be asked in its place, and it again after ask_again().
  void not_told(const std::string& id);
  void ask_again();
  // True: it had some. What runs or waits within it does so outside of it now.
  bool release(const std::string& id);
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
  const GpuSlots& gpus() const { return gpus_; }
  std::vector<std::string> gpus_of(const std::string& id) const;  // of a run that occupies
  GpuSet free_gpus(const std::string& within) const;              // of that run, where it occupies; else of the machine
  const Resources& machine() const { return machine_; }
  const Resources& free() const { return free_; }  // negative where adopted runs take more than there is

 private:
  using Key = std::tuple<int, double, std::string>;  // (-priority, position, id): the smallest is next
  using Ready = std::map<Key, std::string>;
  struct Taken {
    Resources resources;
    std::optional<Time> end;
    std::string within;  // whose they are, one that occupies, too; empty: the machine's
  };
  struct Low {  // a run that can be asked to give way
    int priority;
    Time since;
    std::chrono::milliseconds grace;
    bool asked = false;
    bool spared = false;           // not_told()
    std::optional<Time> end = {};  // of its limit, while it is asked
  };
  struct Reservation {
    std::optional<Time> start;  // of the first run; nothing: when something ends that has no limit
    Resources spare;            // what is free beside it then
  };
  static Key key_of(const Waiting& run) { return {-run.place.priority, run.place.position, run.id}; }
  std::optional<Resources> choose(const Waiting& run, const Resources& free, GpuSet dear = 0) const;
  std::string shortage(const Waiting& run) const;
  Reservation reserve(const Waiting& first) const;
  std::optional<Resources> what_overtaking_takes(const Waiting& run, const Reservation& first, Time now) const;
  std::string take(const std::string& id, const Resources& taken, Time now);
  void make_ready(const Waiting& run);
  bool unready(const Waiting& run);
  Resources free_within(const std::string& outer) const;
  std::optional<Resources> choose_within(const Waiting& run) const;
  std::optional<std::string> next_within(Time now);
  void leave_to(const std::string& outer, const std::string& gone);

  const GpuSlots gpus_;
  const Resources machine_;
  Resources free_;
  bool held_ = false;
  std::string held_for_;
  std::map<std::string, Waiting> waiting_;                   // by id
  Ready ready_;                                              // those that wait for the machine's resources only
  std::map<std::string, Ready> ready_within_;                // by the run of whose resources; it occupies
  std::map<std::string, std::set<std::string>> dependents_;  // by the run whose end they wait for
  std::map<std::string, Taken> taken_;
  std::map<std::string, Low> low_;  // some of those in taken_
  // Between two changes of what is free only newcomers can have become startable.
  bool all_seen_ = false;
  std::vector<Key> newcomers_;
};

}  // namespace runner::pipeline
