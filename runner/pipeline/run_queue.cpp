#include "runner/pipeline/run_queue.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace runner::pipeline {
namespace {

Resources operator+(const Resources& one, const Resources& other) {
  return {one.millicpus + other.millicpus, one.memory + other.memory, one.gpus | other.gpus};
}

Resources operator-(const Resources& one, const Resources& other) {
  return {one.millicpus - other.millicpus, one.memory - other.memory, one.gpus & ~other.gpus};
}

std::string cpus_text(std::int64_t millicpus) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", static_cast<double>(millicpus) / 1000);
  return text.data();
}

std::string memory_text(std::int64_t bytes) {
  std::array<char, 32> text{};
  const double mebibytes = static_cast<double>(bytes) / (1 << 20);
  if (mebibytes < 1024)
    std::snprintf(text.data(), text.size(), "%.0f MiB", mebibytes);
  else
    std::snprintf(text.data(), text.size(), "%.1f GiB", mebibytes / 1024);
  return text.data();
}

}  // namespace

bool fits(const Resources& wanted, const Resources& free) {
  return wanted.millicpus <= free.millicpus && wanted.memory <= free.memory;
}

std::string to_text(const Resources& resources) {
  std::string text;
  if (resources.millicpus > 0) text = cpus_text(resources.millicpus) + (resources.millicpus == 1000 ? " CPU" : " CPUs");
  if (resources.memory > 0) text += (text.empty() ? "" : " and ") + memory_text(resources.memory) + " of memory";
  return text.empty() ? "nothing" : text;
}

RunQueue::RunQueue(const Resources& machine, GpuSlots gpus)
    : gpus_(std::move(gpus)), machine_{machine.millicpus, machine.memory, gpus_.all()}, free_(machine_) {}

// What the run would have of `free`; nothing if that is not enough.
std::optional<Resources> RunQueue::choose(const Waiting& run, const Resources& free, GpuSet dear) const {
  if (!fits(run.wanted, free)) return std::nullopt;
  const auto gpus = gpus_.choose(run.gpus, free.gpus, dear);
  if (!gpus) return std::nullopt;
  return Resources{run.wanted.millicpus, run.wanted.memory, *gpus};
}

// What of its wishes is not free: "2 CPUs (0.5 of 4 free)".
std::string RunQueue::shortage(const Waiting& run) const {
  std::string text;
  const auto add = [&text](const std::string& what, const std::string& free, const std::string& all) {
    text += (text.empty() ? "" : " and ") + what + " (" + free + " of " + all + " free)";
  };
  if (run.wanted.millicpus > free_.millicpus)
    add(to_text({run.wanted.millicpus, 0}), cpus_text(std::max<std::int64_t>(free_.millicpus, 0)),
        cpus_text(machine_.millicpus));
  if (run.wanted.memory > free_.memory)
    add(to_text({0, run.wanted.memory}), memory_text(std::max<std::int64_t>(free_.memory, 0)),
        memory_text(machine_.memory));
  if (!gpus_.choose(run.gpus, free_.gpus))
    add(to_text(run.gpus), std::to_string(gpus_.count(free_.gpus)), std::to_string(gpus_.count(machine_.gpus)));
  return text;
}

void RunQueue::make_ready(const Waiting& run) {
  if (taken_.contains(run.within)) {
    ready_within_[run.within].emplace(key_of(run), run.id);
    return;
  }
  if (!gpus_.choose(run.gpus, machine_.gpus)) return;  // waits for another machine, and keeps nobody from starting
  ready_.emplace(key_of(run), run.id);
  newcomers_.push_back(key_of(run));
}

// True: it waited for resources only.
bool RunQueue::unready(const Waiting& run) {
  if (const auto within = ready_within_.find(run.within); within != ready_within_.end()) {
    const bool was = within->second.erase(key_of(run)) == 1;
    if (within->second.empty()) ready_within_.erase(within);
    if (was) return true;
  }
  return ready_.erase(key_of(run)) == 1;
}

// What `outer`, which occupies, has and has not given away.
Resources RunQueue::free_within(const std::string& outer) const {
  Resources free = taken_.at(outer).resources;
  for (const auto& [id, taken] : taken_)
    if (taken.within == outer) free = free - taken.resources;
  return free;
}

// No more than the outer run has: a wish for all there is means all of that.
std::optional<Resources> RunQueue::choose_within(const Waiting& run) const {
  const Resources& all = taken_.at(run.within).resources;
  Waiting smaller{.id = run.id, .place = run.place, .wanted = run.wanted, .gpus = run.gpus};
  smaller.wanted.millicpus = std::min(smaller.wanted.millicpus, all.millicpus);
  smaller.wanted.memory = std::min(smaller.wanted.memory, all.memory);
  smaller.gpus.count = std::min(smaller.gpus.count, gpus_.count(all.gpus));
  return choose(smaller, free_within(run.within));
}

// Within a run nobody overtakes.
std::optional<std::string> RunQueue::next_within(Time now) {
  for (const auto& [outer, ready] : ready_within_) {
    const Waiting& first = waiting_.at(ready.begin()->second);
    if (const auto taken = choose_within(first)) return take(first.id, *taken, now);
  }
  return std::nullopt;
}

// `gone` has left: what it had given away is now of `outer`, or of the machine.
void RunQueue::leave_to(const std::string& outer, const std::string& gone) {
  for (auto& [id, taken] : taken_) {
    if (taken.within != gone) continue;
    taken.within = outer;
    if (outer.empty()) free_ = free_ - taken.resources;
  }
  const auto ready = ready_within_.find(gone);
  if (ready != ready_within_.end()) {
    const Ready left = std::move(ready->second);
    ready_within_.erase(ready);
    for (const auto& [key, id] : left) {
      waiting_.at(id).within = outer;
      make_ready(waiting_.at(id));
    }
  }
  for (auto& [id, run] : waiting_)
    if (run.within == gone) run.within = outer;
}

void RunQueue::add(Waiting run) {
  if (waiting_.contains(run.id) || taken_.contains(run.id)) return;
  run.wanted.millicpus = std::min(run.wanted.millicpus, machine_.millicpus);
  run.wanted.memory = std::min(run.wanted.memory, machine_.memory);
  for (const auto& [other, end] : run.after) dependents_[other].insert(run.id);
  if (run.after.empty()) make_ready(run);
  const std::string id = run.id;
  waiting_.emplace(id, std::move(run));
}

bool RunQueue::remove(const std::string& id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  if (!ready_.empty() && ready_.begin()->second == id) all_seen_ = false;  // it kept something
  unready(found->second);
  for (const auto& [other, end] : found->second.after) {
    const auto dependents = dependents_.find(other);
    dependents->second.erase(id);
    if (dependents->second.empty()) dependents_.erase(dependents);
  }
  waiting_.erase(found);
  return true;
}

bool RunQueue::move(const std::string& id, const QueuePlace& place) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  const bool ready = unready(found->second);
  found->second.place = place;
  if (ready) make_ready(found->second);
  all_seen_ = false;
  return true;
}

void RunQueue::occupy(const std::string& id, const Resources& taken, std::optional<Time> end,
                      const std::string& within) {
  remove(id);
  const Resources some{std::min(taken.millicpus, machine_.millicpus), std::min(taken.memory, machine_.memory),
                       taken.gpus & machine_.gpus};
  const std::string outer = taken_.contains(within) ? within : "";
  if (!taken_.emplace(id, Taken{some, end, outer}).second) return;
  if (outer.empty()) free_ = free_ - some;
  // Those within it that came before it.
  for (const auto& [other, run] : waiting_)
    if (run.within == id && ready_.erase(key_of(run)) == 1) ready_within_[id].emplace(key_of(run), other);
}

bool RunQueue::release(const std::string& id) {
  const auto found = taken_.find(id);
  if (found == taken_.end()) return false;
  const Taken taken = found->second;
  taken_.erase(found);
  low_.erase(id);
  if (taken.within.empty()) {
    free_ = free_ + taken.resources;
    for (const auto& [other, has] : taken_) free_.gpus &= ~has.resources.gpus;  // adopted ones may have the same
  }
  leave_to(taken.within, id);
  all_seen_ = false;
  return true;
}

void RunQueue::may_give_way(const std::string& id, const QueuePlace& place, std::chrono::milliseconds grace, Time now) {
  const auto found = taken_.find(id);
  if (place.priority < kNormalPriority && found != taken_.end())
    low_.emplace(id, Low{.priority = place.priority, .since = now, .grace = grace});
}

RunQueue::GiveWay RunQueue::make_way(Time now) {
  if (low_.empty() || held_ || !held_for_.empty() || ready_.empty()) return {};
  const Waiting& first = waiting_.at(ready_.begin()->second);
  if (first.place.priority < kNormalPriority) return {};
  Resources free = free_;
  std::vector<std::string> candidates;
  for (const auto& [id, low] : low_) {
    if (!taken_.at(id).within.empty()) continue;  // what it has is not the machine's, but what it is within has
    if (low.asked)
      free = free + taken_.at(id).resources;
    else if (!low.spared)
      candidates.push_back(id);
  }
  if (choose(first, free)) return {};  // is free, or soon will be
  // The least important first; of equals the one that loses the least.
  std::sort(candidates.begin(), candidates.end(), [this](const std::string& one, const std::string& other) {
    const Low &a = low_.at(one), &b = low_.at(other);
    return a.priority != b.priority ? a.priority < b.priority : a.since > b.since;
  });
  GiveWay way{.ids = {}, .to = first.id};
  for (const std::string& id : candidates) {
    free = free + taken_.at(id).resources;
    way.ids.push_back(id);
    if (choose(first, free)) break;
  }
  if (!choose(first, free)) return {};
  // What a larger one has made unnecessary goes on.
  std::erase_if(way.ids, [&](const std::string& id) {
    if (!choose(first, free - taken_.at(id).resources)) return false;
    free = free - taken_.at(id).resources;
    return true;
  });
  for (const std::string& id : way.ids) {
    Taken& taken = taken_.at(id);
    low_.at(id).asked = true;
    low_.at(id).end = taken.end;
    taken.end = std::min(taken.end.value_or(Time::max()), now + low_.at(id).grace);
  }
  all_seen_ = false;  // the first one's start has become known
  return way;
}

void RunQueue::not_told(const std::string& id) {
  const auto found = low_.find(id);
  if (found == low_.end()) return;
  found->second.asked = false;
  found->second.spared = true;
  taken_.at(id).end = found->second.end;
  all_seen_ = false;
}

void RunQueue::ask_again() {
  for (auto& [id, low] : low_) low.spared = false;
}

std::vector<std::string> RunQueue::ended(const std::string& id, bool success) {
  std::vector<std::string> refused;
  const auto found = dependents_.find(id);
  if (found == dependents_.end()) return refused;
  const std::set<std::string> dependents = std::move(found->second);
  dependents_.erase(found);
  for (const std::string& dependent : dependents) {
    Waiting& run = waiting_.at(dependent);
    const AfterEnd wish = run.after.at(id);
    run.after.erase(id);
    if (wish == AfterEnd::kSuccess && !success)
      refused.push_back(dependent);
    else if (run.after.empty())
      make_ready(run);
  }
  for (const std::string& dependent : refused) remove(dependent);
  return refused;
}

void RunQueue::hold(bool held) {
  held_ = held;
  all_seen_ = false;
}

void RunQueue::hold_for(const std::string& reason) {
  held_for_ = reason;
  all_seen_ = false;
}

RunQueue::Reservation RunQueue::reserve(const Waiting& first) const {
  std::vector<const Taken*> by_end;
  by_end.reserve(taken_.size());
  for (const auto& [id, taken] : taken_)
    if (taken.within.empty()) by_end.push_back(&taken);
  std::sort(by_end.begin(), by_end.end(), [](const Taken* one, const Taken* other) {
    if (!one->end || !other->end) return one->end.has_value() && !other->end.has_value();
    return *one->end < *other->end;
  });
  Resources free = free_;
  for (const Taken* taken : by_end) {
    free = free + taken->resources;
    // GPUs that are free by now are left to those that overtake.
    if (const auto chosen = choose(first, free, free_.gpus)) return {taken->end, free - *chosen};
  }
  return {std::nullopt, machine_ - choose(first, machine_, free_.gpus).value_or(machine_)};
}

std::optional<Resources> RunQueue::what_overtaking_takes(const Waiting& run, const Reservation& first, Time now) const {
  const Resources beside{std::min(free_.millicpus, first.spare.millicpus), std::min(free_.memory, first.spare.memory),
                         free_.gpus & first.spare.gpus};
  if (const auto taken = choose(run, beside)) return taken;
  if (run.limit && first.start && now + *run.limit <= *first.start) return choose(run, free_);
  return std::nullopt;
}

std::string RunQueue::take(const std::string& id, const Resources& taken, Time now) {
  const std::string started = id;  // occupying removes what `id` may be a part of
  const auto limit = waiting_.at(started).limit;
  const std::string within = waiting_.at(started).within;
  occupy(started, taken, limit ? std::optional(now + *limit) : std::nullopt, within);
  if (taken.gpus != 0) all_seen_ = false;  // the first one may now be promised other GPUs
  return started;
}

std::optional<std::string> RunQueue::next(Time now) {
  const bool held = held_ || !held_for_.empty();
  if (!held)
    if (auto id = next_within(now)) return id;
  if (held || ready_.empty()) {
    newcomers_.clear();
    return std::nullopt;
  }
  const auto head = ready_.begin();
  const Waiting& first = waiting_.at(head->second);
  if (const auto taken = choose(first, free_)) return take(first.id, *taken, now);
  if (free_.millicpus <= 0) return std::nullopt;  // every run takes some
  const Reservation reservation = reserve(first);
  const auto start = [&](const std::string& id) -> std::optional<std::string> {
    const auto taken = what_overtaking_takes(waiting_.at(id), reservation, now);
    return taken ? std::optional(take(id, *taken, now)) : std::nullopt;
  };
  if (all_seen_ && std::find(newcomers_.begin(), newcomers_.end(), head->first) != newcomers_.end()) all_seen_ = false;
  if (all_seen_) {
    std::sort(newcomers_.begin(), newcomers_.end());
    for (const Key& key : newcomers_)
      if (const auto found = ready_.find(key); found != ready_.end())
        if (auto id = start(found->second)) return id;
  } else {
    for (auto at = std::next(head); at != ready_.end(); ++at)
      if (auto id = start(at->second)) return id;
  }
  newcomers_.clear();
  all_seen_ = true;
  return std::nullopt;
}

std::string RunQueue::why(const std::string& id) const {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return {};
  const Waiting& run = found->second;
  if (!run.after.empty()) {
    const auto& [other, end] = *run.after.begin();
    std::string text = "waits for the end of " + other;
    if (run.after.size() > 1) text += " and " + std::to_string(run.after.size() - 1) + " more";
    return text;
  }
  const bool inner = taken_.contains(run.within);
  if (!inner && !gpus_.choose(run.gpus, machine_.gpus))
    return "waits for " + to_text(run.gpus) + ": this machine has " + std::to_string(gpus_.count(machine_.gpus));
  if (held_) return "the queue is paused";
  if (!held_for_.empty()) return "the queue is held: " + held_for_;
  if (inner) {
    const bool first = ready_within_.at(run.within).begin()->second == id;
    if (first && choose_within(run)) return {};
    return (first ? "waits for room within " : "waits for its turn within ") + run.within + ", which has submitted it";
  }
  if (!choose(run, free_)) {
    std::string text = "waits for " + shortage(run);
    if (!taken_.empty()) text += "; " + taken_.begin()->first + " has some";
    if (taken_.size() > 1) text += ", and " + std::to_string(taken_.size() - 1) + " more";
    return text;
  }
  if (ready_.begin()->second == id) return {};
  const Waiting& first = waiting_.at(ready_.begin()->second);
  return "comes after " + first.id + ", which waits for " + to_text(first.wanted) +
         (first.gpus.empty() ? "" : " and " + to_text(first.gpus));
}

std::vector<RunQueue::Waiting> RunQueue::waiting() const {
  std::vector<Waiting> runs;
  runs.reserve(waiting_.size());
  for (const auto& [id, run] : waiting_) runs.push_back(run);
  std::sort(runs.begin(), runs.end(),
            [](const Waiting& one, const Waiting& other) { return key_of(one) < key_of(other); });
  return runs;
}

std::vector<std::string> RunQueue::running() const {
  std::vector<std::string> ids;
  for (const auto& [id, taken] : taken_) ids.push_back(id);
  return ids;
}

std::vector<std::string> RunQueue::gpus_of(const std::string& id) const {
  const auto found = taken_.find(id);
  return found == taken_.end() ? std::vector<std::string>() : gpus_.ids(found->second.resources.gpus);
}

GpuSet RunQueue::free_gpus(const std::string& within) const {
  return taken_.contains(within) ? free_within(within).gpus : free_.gpus;
}

std::vector<std::string> RunQueue::first(std::size_t most) const {
  std::vector<std::string> ids;
  const bool held = held_ || !held_for_.empty();
  if (ready_.empty() || (!held && choose(waiting_.at(ready_.begin()->second), free_))) return ids;
  for (auto at = ready_.begin(); at != ready_.end() && ids.size() < most; ++at) ids.push_back(at->second);
  return ids;
}

}  // namespace runner::pipeline
