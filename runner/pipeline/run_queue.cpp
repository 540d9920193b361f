#include "runner/pipeline/run_queue.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace runner::pipeline {
namespace {

Resources operator+(const Resources& one, const Resources& other) {
  return {one.millicpus + other.millicpus, one.memory + other.memory};
}

Resources operator-(const Resources& one, const Resources& other) {
  return {one.millicpus - other.millicpus, one.memory - other.memory};
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

namespace {

// What of `wanted` is not free: "2 CPUs (0.5 of 4 free)".
std::string shortage(const Resources& wanted, const Resources& free, const Resources& machine) {
  std::string text;
  if (wanted.millicpus > free.millicpus)
    text = to_text({wanted.millicpus, 0}) + " (" + cpus_text(std::max<std::int64_t>(free.millicpus, 0)) + " of " +
           cpus_text(machine.millicpus) + " free)";
  if (wanted.memory > free.memory)
    text += (text.empty() ? "" : " and ") + to_text({0, wanted.memory}) + " (" +
            memory_text(std::max<std::int64_t>(free.memory, 0)) + " of " + memory_text(machine.memory) + " free)";
  return text;
}

}  // namespace

void RunQueue::make_ready(const Waiting& run) {
  ready_.emplace(key_of(run), run.id);
  newcomers_.push_back(key_of(run));
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
  ready_.erase(key_of(found->second));
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
  const bool ready = ready_.erase(key_of(found->second)) == 1;
  found->second.place = place;
  if (ready) make_ready(found->second);
  all_seen_ = false;
  return true;
}

void RunQueue::occupy(const std::string& id, const Resources& taken, std::optional<Time> end) {
  remove(id);
  const Resources some{std::min(taken.millicpus, machine_.millicpus), std::min(taken.memory, machine_.memory)};
  if (!taken_.emplace(id, Taken{some, end}).second) return;
  free_ = free_ - some;
}

bool RunQueue::release(const std::string& id) {
  const auto found = taken_.find(id);
  if (found == taken_.end()) return false;
  free_ = free_ + found->second.resources;
  taken_.erase(found);
  all_seen_ = false;
  return true;
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

RunQueue::Reservation RunQueue::reserve(const Resources& wanted) const {
  std::vector<const Taken*> by_end;
  by_end.reserve(taken_.size());
  for (const auto& [id, taken] : taken_) by_end.push_back(&taken);
  std::sort(by_end.begin(), by_end.end(), [](const Taken* one, const Taken* other) {
    if (!one->end || !other->end) return one->end.has_value() && !other->end.has_value();
    return *one->end < *other->end;
  });
  Resources free = free_;
  for (const Taken* taken : by_end) {
    free = free + taken->resources;
    if (fits(wanted, free)) return {taken->end, free - wanted};
  }
  return {std::nullopt, machine_ - wanted};
}

bool RunQueue::may_overtake(const Waiting& run, const Reservation& first, Time now) const {
  if (!fits(run.wanted, free_)) return false;
  return fits(run.wanted, first.spare) || (run.limit && first.start && now + *run.limit <= *first.start);
}

std::optional<std::string> RunQueue::next(Time now) {
  const auto take = [&](std::string id) {  // a copy: occupying removes what it came from
    const Waiting run = waiting_.at(id);
    occupy(id, run.wanted, run.limit ? std::optional(now + *run.limit) : std::nullopt);
    return id;
  };
  if (held_ || !held_for_.empty() || ready_.empty()) {
    newcomers_.clear();
    return std::nullopt;
  }
  const auto head = ready_.begin();
  const Waiting& first = waiting_.at(head->second);
  if (fits(first.wanted, free_)) return take(first.id);
  if (free_.millicpus <= 0) return std::nullopt;  // every run takes some
  const Reservation reservation = reserve(first.wanted);
  if (all_seen_ && std::find(newcomers_.begin(), newcomers_.end(), head->first) != newcomers_.end()) all_seen_ = false;
  if (all_seen_) {
    std::sort(newcomers_.begin(), newcomers_.end());
    for (const Key& key : newcomers_)
      if (const auto found = ready_.find(key);
          found != ready_.end() && may_overtake(waiting_.at(found->second), reservation, now))
        return take(found->second);
  } else {
    for (auto at = std::next(head); at != ready_.end(); ++at)
      if (may_overtake(waiting_.at(at->second), reservation, now)) return take(at->second);
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
  if (held_) return "the queue is paused";
  if (!held_for_.empty()) return "the queue is held: " + held_for_;
  if (!fits(run.wanted, free_)) {
    std::string text = "waits for " + shortage(run.wanted, free_, machine_);
    if (!taken_.empty()) text += "; " + taken_.begin()->first + " has some";
    if (taken_.size() > 1) text += ", and " + std::to_string(taken_.size() - 1) + " more";
    return text;
  }
  if (ready_.begin()->second == id) return {};
  const Waiting& first = waiting_.at(ready_.begin()->second);
  return "comes after " + first.id + ", which waits for " + to_text(first.wanted);
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

std::vector<std::string> RunQueue::first(std::size_t most) const {
  std::vector<std::string> ids;
  if (ready_.empty() || (!held_ && held_for_.empty() && fits(waiting_.at(ready_.begin()->second).wanted, free_)))
    return ids;
  for (auto at = ready_.begin(); at != ready_.end() && ids.size() < most; ++at) ids.push_back(at->second);
  return ids;
}

}  // namespace runner::pipeline
