#include "snapshot/work_pool.hpp"

#include <pthread.h>

#include <utility>

namespace runner::snapshot {
namespace {

// A thread costs about 50 µs to start and stop, twice that before it has taken over its first task.
constexpr std::size_t kHelperWorth = 400;  // µs

}  // namespace

WorkPool::~WorkPool() {
  // After a failure the other thread may still be in a task that uses what the caller owns: jthread waits for it.
  helper_.request_stop();
}

void WorkPool::add(int worker, Task task, std::size_t weight) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    tasks_[static_cast<std::size_t>(worker)].push_back(std::move(task));
    ++outstanding_;
    backlog_ += weight;
    wake = worker == 0 ? helper_waits_ : caller_waits_;
    if (!helper_.joinable() && backlog_ >= kHelperWorth) {
      helper_ = std::jthread([this](const std::stop_token& stop) { help(stop); });
      ::pthread_setname_np(helper_.native_handle(), "snapshot-helper");
    }
  }
  if (wake) changed_.notify_all();
}

bool WorkPool::take(int worker, Task& task) {
  auto& own = tasks_[static_cast<std::size_t>(worker)];
  auto& other = tasks_[static_cast<std::size_t>(1 - worker)];
  if (!own.empty()) {
    task = std::move(own.back());
    own.pop_back();
    return true;
  }
  if (other.empty()) return false;
  task = std::move(other.front());
  other.pop_front();
  return true;
}

void WorkPool::work(int worker, Task task, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  std::exception_ptr failure;
  try {
    task(worker);
  } catch (...) {  // the top of a worker: `run` throws it on
    failure = std::current_exception();
  }
  task = nullptr;  // what it holds is let go without the lock
  lock.lock();
  --outstanding_;
  if (failure && !failure_) {
    failure_ = failure;
    for (auto& waiting : tasks_) {
      outstanding_ -= waiting.size();
      waiting.clear();
    }
  }
  if (outstanding_ == 0) changed_.notify_all();
}

void WorkPool::help(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    Task task;
    if (take(1, task)) {
      work(1, std::move(task), lock);
      continue;
    }
    helper_waits_ = true;
    changed_.wait(lock, stop, [this] { return !tasks_[0].empty() || !tasks_[1].empty(); });
    helper_waits_ = false;
  }
}

void WorkPool::run() {
  std::unique_lock lock(mutex_);
  while (outstanding_ > 0) {
    Task task;
    if (take(0, task)) {
      work(0, std::move(task), lock);
      continue;
    }
    caller_waits_ = true;
    changed_.wait(lock, [this] { return outstanding_ == 0 || !tasks_[0].empty() || !tasks_[1].empty(); });
    caller_waits_ = false;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace runner::snapshot
