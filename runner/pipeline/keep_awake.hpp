// Keeps the machine from falling asleep by itself while runs are live: one lock of systemd-logind from the first one's
// start to the last one's end. What the user asks for, suspending or closing the lid, is not in its way. Nobody waits
// for it: the bus is talked to on a thread of its own, which exists from the first run on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "runner/os/fd.hpp"

namespace runner::pipeline {

class KeepAwake {
 public:
  // How long the lock outlives the last run: between two runs of a queue it is not given away.
  static constexpr std::chrono::seconds kAfterwards{2};

  // `lock()` is called on the thread; it may throw Error, and is asked again when the next first run starts.
  explicit KeepAwake(std::function<os::Fd()> lock, std::chrono::milliseconds afterwards = kAfterwards);
  ~KeepAwake();
  void stop();  // enter() and leave() stay harmless

  // Any thread; both return at once, and a repetition changes nothing.
  void enter(const std::string& run);
  void leave(const std::string& run);

 private:
  void work(const std::stop_token& stop);

  const std::function<os::Fd()> lock_;
  const std::chrono::milliseconds afterwards_;
  std::mutex mutex_;  // guards live_, stopped_ and the making of thread_
  std::condition_variable_any wake_;
  std::set<std::string> live_;
  bool stopped_ = false;
  std::jthread thread_;  // last: it uses everything above
};

// For as long as it lives; without `keeper` nothing.
class Awake {
 public:
  Awake(KeepAwake* keeper, std::string what) : keeper_(keeper), what_(std::move(what)) {
    if (keeper_ != nullptr) keeper_->enter(what_);
  }
  ~Awake() {
    if (keeper_ != nullptr) keeper_->leave(what_);
  }
  Awake(const Awake&) = delete;
  Awake& operator=(const Awake&) = delete;

 private:
  KeepAwake* const keeper_;
  const std::string what_;
};

}  // namespace runner::pipeline
