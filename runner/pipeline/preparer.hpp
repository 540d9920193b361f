// Runs whose environment is not there yet wait here instead of in a slot: one at a time is prepared, on a thread of its
// own, so that neither other runs nor the collection of results waits for a registry. Another one makes checkouts
// ahead.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace runner::pipeline {

class Preparer {
 public:
  // `prepare` is called on the preparer's thread; must not throw, and must return soon when the token asks for it.
  using Prepare = std::function<void(const std::string& id, const std::stop_token& stop)>;
  explicit Preparer(Prepare prepare, const char* thread_name = "run-prepare");
  ~Preparer();
  // Ends the thread: what is not done is left for recovery, and enqueue() stays harmless.
  void stop();

  void enqueue(const std::string& id);   // once, if it waits already
  bool withdraw(const std::string& id);  // true: it was still waiting and will not be prepared

 private:
  void work(const std::stop_token& stop);

  const Prepare prepare_;
  std::mutex mutex_;  // guards waiting_
  std::condition_variable_any wake_;
  std::deque<std::string> waiting_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace runner::pipeline
