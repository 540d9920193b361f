// What runs leave behind, removed on a thread of its own: a container engine may take its time, or be away, and neither
// queue nor collection waits for it. What fails is tried again, less and less often.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace runner::pipeline {

class Clearer {
 public:
  static constexpr std::chrono::seconds kFirstPause{1};  // between two attempts; doubles each time, to
  static constexpr std::chrono::seconds kLongestPause{640};

  // `clear(id)` is called on the clearer's thread: true if nothing of the run is left. Must not throw.
  explicit Clearer(std::function<bool(const std::string& id)> clear, const char* thread_name = "run-clear",
                   std::chrono::milliseconds first_pause = kFirstPause);
  ~Clearer();
  // Tries what is due now, then ends the thread; the rest is left for the next daemon, and enqueue() stays harmless.
  void stop();

  void enqueue(const std::string& id);

 private:
  struct Due {
    std::string id;
    std::chrono::milliseconds pause;  // after the next failure
  };
  void work(const std::stop_token& stop);

  const std::function<bool(const std::string&)> clear_;
  const std::chrono::milliseconds first_pause_;
  std::mutex mutex_;  // guards due_
  std::condition_variable_any wake_;
  std::multimap<std::chrono::steady_clock::time_point, Due> due_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace runner::pipeline
