// Which run starts next, and the threads that do the work of starting and ending runs.
// Priority first, then the order of submission; at most `parallel` runs hold a slot.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace runner::pipeline {

class Scheduler {
 public:
  // `start(id)` is called on a worker thread when the run gets its slot. Both kinds of work must not throw.
  Scheduler(int parallel, std::function<void(const std::string& id)> start);
  ~Scheduler();  // finishes what is being done, drops what waits (recovery finds it again)

  void enqueue(const std::string& id, int priority);
  // A run that already lives (adopted after a restart) takes a slot even beyond `parallel`.
  void occupy(const std::string& id);
  bool withdraw(const std::string& id);  // true: it was still waiting and will not start
  void release(const std::string& id);   // its container is gone: the slot is free
  // The first of those that wait because every slot is taken.
  std::vector<std::string> held_up(std::size_t most);
  // Work that must not wait for slots: collecting the outputs of a run that ended.
  void post(std::function<void()> work);

 private:
  using Place = std::tuple<int, std::uint64_t>;  // (-priority, arrival): the smallest is next
  void work(const std::stop_token& stop);

  const std::size_t parallel_;
  const std::function<void(const std::string&)> start_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable_any wake_;
  std::map<Place, std::string> waiting_;
  std::map<std::string, Place> places_;
  std::set<std::string> holding_;
  std::deque<std::function<void()>> posted_;
  std::uint64_t arrivals_ = 0;
  std::vector<std::jthread> workers_;
};

}  // namespace runner::pipeline
