// The threads of one walk: the caller's and, once there is enough to do for two, a helper ("snapshot-helper"). Each
// works on the task it added last, so that few are waiting at any time, and takes the other's oldest when it has none:
// in a walk that is the largest stretch still untouched.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace runner::snapshot {

class WorkPool {
 public:
  static constexpr int kWorkers = 2;
  // Which of the pool's threads runs the task: 0 is the caller of `run`. For scratch space of one thread.
  using Task = std::function<void(int worker)>;

  WorkPool() = default;
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // From within a task (with its worker), or from outside with 0 while nothing runs. `weight`: about how many
  // microseconds the task takes.
  void add(int worker, Task task, std::size_t weight = 0);
  // Works until every task, and what those added, is done. Throws what a task threw first; the others are dropped then.
  // May be called again.
  void run();

 private:
  bool take(int worker, Task& task);  // with the mutex held
  void work(int worker, Task task, std::unique_lock<std::mutex>& lock);
  void help(const std::stop_token& stop);

  std::mutex mutex_;  // guards all below
  std::condition_variable_any changed_;
  std::array<std::deque<Task>, kWorkers> tasks_;
  std::size_t outstanding_ = 0;  // waiting or being worked on
  std::size_t backlog_ = 0;      // microseconds, of all tasks added so far
  bool helper_waits_ = false;
  bool caller_waits_ = false;
  std::exception_ptr failure_;
  std::jthread helper_;  // last: joined first
};

}  // namespace runner::snapshot
