#include "runner/pipeline/keep_awake.hpp"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "runner/core/error.hpp"

namespace runner::pipeline {

KeepAwake::KeepAwake(std::function<os::Fd()> lock, std::chrono::milliseconds afterwards)
    : lock_(std::move(lock)), afterwards_(afterwards) {}

KeepAwake::~KeepAwake() { stop(); }

void KeepAwake::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void KeepAwake::enter(const std::string& run) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || !live_.insert(run).second) return;
    if (!thread_.joinable()) {
      thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
      ::pthread_setname_np(thread_.native_handle(), "keep-awake");
    }
    if (live_.size() > 1) return;
  }
  wake_.notify_one();
}

void KeepAwake::leave(const std::string& run) {
  {
    const std::lock_guard lock(mutex_);
    if (live_.erase(run) == 0 || !live_.empty()) return;
  }
  wake_.notify_one();
}

void KeepAwake::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return !live_.empty(); })) {
    os::Fd held;
    lock.unlock();
    try {
      held = lock_();
    } catch (const Error& error) {
      if (!stop.stop_requested()) spdlog::info("the machine is not kept from falling asleep: {}", error.message());
    }
    lock.lock();
    do {
      if (!wake_.wait(lock, stop, [this] { return live_.empty(); })) return;
    } while (held && wake_.wait_for(lock, stop, afterwards_, [this] { return !live_.empty(); }));
    if (stop.stop_requested()) return;
  }
}

}  // namespace runner::pipeline
