#include "runner/pipeline/clearer.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace runner::pipeline {

using Clock = std::chrono::steady_clock;

Clearer::Clearer(std::function<bool(const std::string& id)> clear, const char* thread_name,
                 std::chrono::milliseconds first_pause)
    : clear_(std::move(clear)), first_pause_(first_pause) {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
  ::pthread_setname_np(thread_.native_handle(), thread_name);
}

Clearer::~Clearer() = default;

void Clearer::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Clearer::enqueue(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    due_.emplace(Clock::now(), Due{.id = id, .pause = first_pause_});
  }
  wake_.notify_one();
}

void Clearer::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = Clock::now();
    if (due_.empty() || due_.begin()->first > now) {
      if (stop.stop_requested()) return;
      if (due_.empty()) {
        wake_.wait(lock, stop, [this] { return !due_.empty(); });
      } else {
        // Sooner if something is added that is due at once.
        const auto first = due_.begin()->first;
        wake_.wait_until(lock, stop, first, [this, first] { return due_.begin()->first < first; });
      }
      continue;
    }
    Due due = std::move(due_.extract(due_.begin()).mapped());
    lock.unlock();
    const bool done = clear_(due.id);
    lock.lock();
    if (done) continue;
    const auto next = Clock::now() + due.pause;
    due.pause = std::min<std::chrono::milliseconds>(due.pause * 2, kLongestPause);
    due_.emplace(next, std::move(due));
  }
}

}  // namespace runner::pipeline
