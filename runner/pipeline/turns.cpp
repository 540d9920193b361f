#include "runner/pipeline/turns.hpp"

namespace runner::pipeline {

Turns::Turn Turns::take_or_leave(const std::string& run) {
  const std::lock_guard lock(mutex_);
  const auto [place, free] = taken_.try_emplace(run, false);
  if (!free) place->second = true;
  return {free ? this : nullptr, run};
}

Turns::Turn Turns::take(const std::string& run, std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  const bool free = freed_.wait_for(lock, limit, [&] { return taken_.try_emplace(run, false).second; });
  return {free ? this : nullptr, run};
}

Turns::Turn Turns::take(const std::string& run) {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] { return taken_.try_emplace(run, false).second; });
  return {this, run};
}

bool Turns::Turn::finish() {
  if (turns_ == nullptr) return true;
  Turns& turns = *std::exchange(turns_, nullptr);
  bool more = false;
  {
    const std::lock_guard lock(turns.mutex_);
    const auto place = turns.taken_.find(run_);
    more = place->second;
    turns.taken_.erase(place);
  }
  turns.freed_.notify_all();
  return !more;
}

}  // namespace runner::pipeline
