// The queue's clock and threads: they start what the queue says, and do the work of starting and ending runs.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runner/pipeline/run_queue.hpp"

namespace runner::pipeline {

class Scheduler {
 public:
  // Called on a worker thread; must not throw, as nothing that is posted may.
  struct Callbacks {
    std::function<void(const std::string& id)> start;  // the run has its resources
    // The run is to end so that `to` can start; then release(). False: it could not be told, and is asked again later.
    std::function<bool(const std::string& id, const std::string& to)> give_way;
  };
  Scheduler(const Resources& machine, GpuSlots gpus, bool held, Callbacks callbacks);
  ~Scheduler();
  // Finishes what is being done, drops what waits (recovery finds it again), joins the workers: they use this to the
  // last, so it stays, and every other call stays harmless.
  void stop();

  void enqueue(RunQueue::Waiting run);
  // A run that already lives (adopted after a restart) takes its resources, free or not. `left`: of its time limit;
  // `within`: RunQueue::Waiting.
  void occupy(const std::string& id, Resources taken, const std::vector<std::string>& gpus,
              std::optional<std::chrono::milliseconds> left, const std::string& within = {});
  // The run's script has started: from now on it can be told to give way (RunQueue::may_give_way).
  void started(const std::string& id, const QueuePlace& place, std::chrono::milliseconds grace);
  std::vector<std::string> gpus_of(const std::string& id) const;  // of a run that has its resources
  bool withdraw(const std::string& id);                           // true: it was still waiting and will not start
  void release(const std::string& id);                            // its container is gone: what it had is free
  // `id` has ended, its row says so. Gives those that waited for another end than this: they wait no more.
  std::vector<std::string> ended(const std::string& id, bool success);
  bool move(const std::string& id, const QueuePlace& place);  // false: it does not wait
  void hold(bool held);
  void hold_for(const std::string& reason);  // RunQueue::hold_for

  struct State {
    bool held = false;
    std::string held_for;
    Resources machine;
    Resources free;
    int gpus = 0;  // all there are, and those of them that are free
    int free_gpus = 0;
    std::vector<std::string> running;        // ids
    std::vector<RunQueue::Waiting> waiting;  // in order
  };
  State state() const;
  std::vector<std::string> running() const;      // ids
  std::string why(const std::string& id) const;  // RunQueue::why
  // The first of those that wait because nothing is free.
  std::vector<std::string> held_up(std::size_t most) const;
  // Work that must not wait for resources: collecting the outputs of a run that ended.
  void post(std::function<void()> work);

 private:
  void work(const std::stop_token& stop);

  void ask_to_give_way();
  void give_way(const std::string& id, const std::string& to);

  const Callbacks callbacks_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable_any wake_;
  RunQueue queue_;
  std::optional<RunQueue::Time> ask_again_;  // when those that could not be told to give way are asked again
  std::deque<std::function<void()>> posted_;
  std::vector<std::jthread> workers_;
};

}  // namespace runner::pipeline
