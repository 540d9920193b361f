#include "runner/pipeline/preparer.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace runner::pipeline {

Preparer::Preparer(Prepare prepare, const char* thread_name) : prepare_(std::move(prepare)) {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
  ::pthread_setname_np(thread_.native_handle(), thread_name);
}

Preparer::~Preparer() = default;

void Preparer::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Preparer::enqueue(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    if (std::find(waiting_.begin(), waiting_.end(), id) == waiting_.end()) waiting_.push_back(id);
  }
  wake_.notify_one();
}

bool Preparer::withdraw(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto at = std::find(waiting_.begin(), waiting_.end(), id);
  if (at == waiting_.end()) return false;
  waiting_.erase(at);
  return true;
}

void Preparer::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
    if (stop.stop_requested()) return;
    const std::string id = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    prepare_(id, stop);
    lock.lock();
  }
}

}  // namespace runner::pipeline
