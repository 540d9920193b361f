// `on_end` of the configuration: a command, or a notification of the desktop, for every run that ends. One at a time,
// on a thread of its own, in bounded time: neither the queue nor a run's end waits for it. What is still to be done is
// files in the data directory (on_end/<run id>), made before the row says that the run has ended and removed when the
// command has been started: a crash in between makes it run twice rather than not at all.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::pipeline {

struct OnEndRule {
  std::vector<std::string> command;  // exact; empty: none
  bool notify = false;
  std::chrono::milliseconds limit{60'000};  // of one command
  bool any() const { return notify || !command.empty(); }
};

class OnEnd {
 public:
  struct Callbacks {
    std::function<RunRecord(const std::string& id)> get;                              // may throw Error
    std::function<void(const std::string& summary, const std::string& body)> notify;  // may throw Error
  };
  OnEnd(OnEndRule rule, std::filesystem::path directory, Callbacks callbacks);
  ~OnEnd();
  void stop();  // a command that runs is left to itself; what waits is left for the next daemon

  // The run is about to end: from now on it is not forgotten. Any thread.
  void expect(const std::string& id);
  // Its row says so. Any thread.
  void ended(const std::string& id);
  // What an earlier daemon has left undone.
  void recover();

 private:
  void work(const std::stop_token& stop);
  void run_command(const RunRecord& run, const std::stop_token& stop);
  void show(const std::vector<RunRecord>& runs);
  void forget(const std::string& id) const;

  const OnEndRule rule_;
  const std::filesystem::path directory_;
  const Callbacks callbacks_;
  std::mutex mutex_;  // guards waiting_, stopped_ and the making of thread_
  std::condition_variable_any wake_;
  std::deque<std::string> waiting_;
  bool stopped_ = false;
  std::jthread thread_;  // last: it uses everything above
};

// What a command is told beside the daemon's own variables; control characters of texts that the script may have had a
// say in are blanks.
std::vector<std::pair<std::string, std::string>> on_end_variables(const RunRecord& run);

}  // namespace runner::pipeline
