#include "runner/pipeline/scheduler.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace runner::pipeline {

// Two threads collect or start while two more may be held up by a large checkout; more would only fight for two cores.
constexpr int kWorkers = 4;

Scheduler::Scheduler(int parallel, std::function<void(const std::string& id)> start)
    : parallel_(static_cast<std::size_t>(parallel)), start_(std::move(start)) {
  for (int i = 0; i < kWorkers; ++i) {
    workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    ::pthread_setname_np(workers_.back().native_handle(), "run-worker");
  }
}

Scheduler::~Scheduler() {
  for (std::jthread& worker : workers_) worker.request_stop();
}

void Scheduler::enqueue(const std::string& id, int priority) {
  {
    const std::lock_guard lock(mutex_);
    if (places_.contains(id) || holding_.contains(id)) return;
    const Place place{-priority, arrivals_++};
    waiting_.emplace(place, id);
    places_.emplace(id, place);
  }
  wake_.notify_one();
}

void Scheduler::occupy(const std::string& id) {
  const std::lock_guard lock(mutex_);
  holding_.insert(id);
}

bool Scheduler::withdraw(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(id);
  if (place == places_.end()) return false;
  waiting_.erase(place->second);
  places_.erase(place);
  return true;
}

void Scheduler::release(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    holding_.erase(id);
  }
  wake_.notify_one();
}

std::vector<std::string> Scheduler::held_up(std::size_t most) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  if (holding_.size() < parallel_) return ids;
  for (auto at = waiting_.begin(); at != waiting_.end() && ids.size() < most; ++at) ids.push_back(at->second);
  return ids;
}

void Scheduler::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void Scheduler::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto may_start = [this] { return !waiting_.empty() && holding_.size() < parallel_; };
  while (wake_.wait(lock, stop, [&] { return !posted_.empty() || may_start(); })) {
    if (stop.stop_requested()) return;
    if (!posted_.empty()) {
      const auto work = std::move(posted_.front());
      posted_.pop_front();
      lock.unlock();
      work();
      lock.lock();
      continue;
    }
    const auto next = waiting_.begin();
    const std::string id = next->second;
    waiting_.erase(next);
    places_.erase(id);
    holding_.insert(id);
    lock.unlock();
    start_(id);
    lock.lock();
  }
}

}  // namespace runner::pipeline
