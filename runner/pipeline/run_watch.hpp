// One thread that learns what live runs do: their records appear, their logs and journals grow, their shims end.
// inotify and pidfds: nothing is polled, an idle daemon is not woken. Only where the user has no inotify instance or
// watch left (scripts can take them all) the directories of runs are looked into four times a second.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"

namespace runner::pipeline {

// Called on the watch thread; must be short and must not throw.
struct RunObserver {
  std::function<void(const std::string& id)> started;  // start.json is there
  std::function<void(const std::string& id)> log_grew;
  std::function<void(const std::string& id)> journal_grew;  // at most once in kJournalPause
  std::function<void(const std::string& id)> ended;         // exit.json is there, or the shim is gone; once per run
};

class RunWatch {
 public:
  static constexpr std::chrono::milliseconds kJournalPause{50};  // metrics may trail by at most 100 ms

  explicit RunWatch(RunObserver observer);
  ~RunWatch();

  // Ends the thread: nothing is reported any more, every other call stays harmless.
  void stop();

  // Before the shim is started. Whatever is in the directory already is reported too.
  void add(const std::string& id, const os::RunDirectory& directory);
  void set_shim(const std::string& id, os::Fd pidfd);
  bool signal_shim(const std::string& id, int signal);  // false: there is none
  void remove(const std::string& id);
  // Calls `ended` for the run again after a pause: a collection that failed (disk full) is tried again.
  void retry_ended(const std::string& id, std::chrono::milliseconds pause);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::pipeline
