#include "runner/pipeline/scheduler.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace runner::pipeline {

// Two threads collect or start while two more may be held up by a large checkout; more would only fight for two cores.
constexpr int kWorkers = 4;
constexpr std::chrono::seconds kAskAgain{10};

Scheduler::Scheduler(const Resources& machine, GpuSlots gpus, bool held, Callbacks callbacks)
    : callbacks_(std::move(callbacks)), queue_(machine, std::move(gpus)) {
  queue_.hold(held);
  for (int i = 0; i < kWorkers; ++i) {
    workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    ::pthread_setname_np(workers_.back().native_handle(), "run-worker");
  }
}

Scheduler::~Scheduler() { stop(); }

void Scheduler::stop() {
  for (std::jthread& worker : workers_) worker.request_stop();
  for (std::jthread& worker : workers_)
    if (worker.joinable()) worker.join();
}

void Scheduler::enqueue(RunQueue::Waiting run) {
  {
    const std::lock_guard lock(mutex_);
    queue_.add(std::move(run));
  }
  wake_.notify_one();
}

void Scheduler::occupy(const std::string& id, Resources taken, const std::vector<std::string>& gpus,
                       std::optional<std::chrono::milliseconds> left, const std::string& within) {
  const auto now = RunQueue::Time::clock::now();
  const std::lock_guard lock(mutex_);
  taken.gpus = queue_.gpus().slots_of(gpus, queue_.free_gpus(within));
  queue_.occupy(id, taken, left ? std::optional(now + *left) : std::nullopt, within);
}

void Scheduler::started(const std::string& id, const QueuePlace& place, std::chrono::milliseconds grace) {
  {
    const std::lock_guard lock(mutex_);
    queue_.may_give_way(id, place, grace, RunQueue::Time::clock::now());
  }
  if (place.priority < kNormalPriority) wake_.notify_one();  // somebody may be waiting for just this
}

std::vector<std::string> Scheduler::gpus_of(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  return queue_.gpus_of(id);
}

bool Scheduler::withdraw(const std::string& id) {
  bool waited = false;
  {
    const std::lock_guard lock(mutex_);
    waited = queue_.remove(id);
  }
  if (waited) wake_.notify_one();  // it may have kept what others can use
  return waited;
}

void Scheduler::release(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    queue_.release(id);
  }
  wake_.notify_one();
}

std::vector<std::string> Scheduler::ended(const std::string& id, bool success) {
  std::vector<std::string> refused;
  {
    const std::lock_guard lock(mutex_);
    refused = queue_.ended(id, success);
  }
  wake_.notify_one();
  return refused;
}

bool Scheduler::move(const std::string& id, const QueuePlace& place) {
  bool waits = false;
  {
    const std::lock_guard lock(mutex_);
    waits = queue_.move(id, place);
  }
  wake_.notify_one();
  return waits;
}

void Scheduler::hold(bool held) {
  {
    const std::lock_guard lock(mutex_);
    queue_.hold(held);
  }
  wake_.notify_one();
}

void Scheduler::hold_for(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.held_for() == reason) return;
    queue_.hold_for(reason);
  }
  wake_.notify_one();
}

std::vector<std::string> Scheduler::running() const {
  const std::lock_guard lock(mutex_);
  return queue_.running();
}

Scheduler::State Scheduler::state() const {
  const std::lock_guard lock(mutex_);
  const auto count = [this](const Resources& some) { return queue_.gpus().count(some.gpus); };
  return {queue_.held(),           queue_.held_for(),    queue_.machine(), queue_.free(),
          count(queue_.machine()), count(queue_.free()), queue_.running(), queue_.waiting()};
}

std::string Scheduler::why(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  return queue_.why(id);
}

std::vector<std::string> Scheduler::held_up(std::size_t most) const {
  const std::lock_guard lock(mutex_);
  return queue_.first(most);
}

void Scheduler::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  wake_.notify_one();
}

// With the lock held.
void Scheduler::ask_to_give_way() {
  const RunQueue::GiveWay way = queue_.make_way(RunQueue::Time::clock::now());
  for (const std::string& id : way.ids) posted_.emplace_back([this, id, to = way.to] { give_way(id, to); });
}

void Scheduler::give_way(const std::string& id, const std::string& to) {
  if (callbacks_.give_way(id, to)) return;
  const std::lock_guard lock(mutex_);
  queue_.not_told(id);
  ask_again_ = RunQueue::Time::clock::now() + kAskAgain;
}

void Scheduler::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  std::optional<std::string> next;
  const auto has_work = [&] {
    if (!posted_.empty()) return true;
    next = queue_.next(RunQueue::Time::clock::now());
    if (!next) ask_to_give_way();
    return next.has_value() || !posted_.empty();
  };
  // True when there is work; the one who has set the time waits for it himself.
  const auto wait = [&] {
    while (ask_again_) {
      const RunQueue::Time at = *ask_again_;
      if (wake_.wait_until(lock, stop, at, has_work)) return true;
      if (stop.stop_requested()) return false;
      if (ask_again_ != at) continue;
      ask_again_.reset();
      queue_.ask_again();
    }
    return wake_.wait(lock, stop, has_work);
  };
  while (wait()) {
    if (stop.stop_requested()) return;
    if (next) {
      const std::string id = *std::exchange(next, std::nullopt);
      wake_.notify_one();  // there may be room for another, and this thread is busy now
      lock.unlock();
      callbacks_.start(id);
    } else {
      const auto work = std::move(posted_.front());
      posted_.pop_front();
      lock.unlock();
      work();
    }
    lock.lock();
  }
}

}  // namespace runner::pipeline
