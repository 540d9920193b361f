#include "snapshot/read_gate.hpp"

#include "snapshot/large_tree.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kHeld = 200;  // tasks; each may hold a directory's descriptor

}  // namespace

ReadGate::ReadGate(const Options& options, const StatCache& cache, WorkPool& pool)
    : options_(options), cache_(cache), pool_(pool), open_(!options.before_large_copy) {}

void ReadGate::add(int worker, WorkPool::Task task, std::size_t weight, std::size_t files, std::int64_t bytes) {
  if (!open_) {
    const std::lock_guard lock(mutex_);
    if (!open_) {
      held_.emplace_back(std::move(task), weight);
      files_ += static_cast<std::int64_t>(files);
      bytes_ += bytes;
      if (held_.size() >= kHeld || files_ >= options_.large_files || bytes_ >= options_.large_bytes)
        open_locked(worker, false);
      return;
    }
  }
  pool_.add(worker, std::move(task), weight);
}

void ReadGate::open(int worker, bool walked) {
  if (open_) return;
  const std::lock_guard lock(mutex_);
  if (!open_) open_locked(worker, walked);
}

void ReadGate::open_locked(int worker, bool walked) {
  const auto is_large = [this](std::int64_t files, std::int64_t bytes) {
    return files >= options_.large_files || bytes >= options_.large_bytes;
  };
  if (!walked || is_large(files_, bytes_)) {
    const LargeTree all = measure_new(options_, cache_);
    if (is_large(all.files, all.bytes)) options_.before_large_copy(large_warning(all));
  }
  for (auto& [task, weight] : held_) pool_.add(worker, std::move(task), weight);
  held_ = {};
  open_ = true;
}

}  // namespace runner::snapshot
