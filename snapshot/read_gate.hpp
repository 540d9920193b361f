// Between the walk and the readers: nothing is copied before it is known whether a warning is due. Reading waits until
// the walk has ended, or until so much is waiting that a walk of its own to count everything costs little beside it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "snapshot/snapshot.hpp"
#include "snapshot/stat_cache.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {

class ReadGate {
 public:
  ReadGate(const Options& options, const StatCache& cache, WorkPool& pool);

  // Any worker of the pool: the task goes to the pool, at once or when the gate opens.
  void add(int worker, WorkPool::Task task, std::size_t weight, std::size_t files, std::int64_t bytes);
  // Opens it, with the warning if one is due. `walked`: what has been added is all.
  void open(int worker, bool walked);

 private:
  void open_locked(int worker, bool walked);

  const Options& options_;
  const StatCache& cache_;
  WorkPool& pool_;
  std::atomic<bool> open_;
  // Guards what follows; held over the counting, too: the other thread may not read before it either.
  std::mutex mutex_;
  std::vector<std::pair<WorkPool::Task, std::size_t>> held_;
  std::int64_t files_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace runner::snapshot
