#include "snapshot/read_queue.hpp"

#include <pthread.h>

#include <utility>

namespace runner::snapshot {
namespace {

// A thread costs about 50 µs to start and stop; so long take 20 small files. Below this the walking thread does it all.
constexpr std::size_t kHelperFiles = 128;
constexpr std::int64_t kHelperBytes = 4 << 20;
constexpr std::size_t kQueueLimit = 32;  // jobs; each holds a directory's descriptor

}  // namespace

ReadQueue::ReadQueue(ContentBatch& batch) : batch_(batch), own_reader_(batch) {}

ReadQueue::~ReadQueue() = default;  // the helper ends after its job: jthread asks it to

void ReadQueue::add(ReadJob job) {
  start_helper_if_worthwhile(job);
  std::size_t waiting = 0;
  {
    const std::lock_guard lock(mutex_);
    rethrow_failure();
    jobs_.push_back(std::move(job));
    waiting = jobs_.size();
  }
  if (helper_.joinable()) changed_.notify_all();
  if (waiting >= kQueueLimit) run_one();
}

void ReadQueue::start_helper_if_worthwhile(const ReadJob& job) {
  backlog_files_ += job.files.size();
  backlog_bytes_ += job.bytes;
  if (helper_.joinable() || (backlog_files_ < kHelperFiles && backlog_bytes_ < kHelperBytes)) return;
  helper_ = std::jthread([this](const std::stop_token& stop) { help(stop); });
  ::pthread_setname_np(helper_.native_handle(), "snapshot-reader");
}

void ReadQueue::help(const std::stop_token& stop) {
  FileReader reader(batch_);
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !jobs_.empty(); }) && !stop.stop_requested()) {
    const ReadJob job = std::move(jobs_.front());
    jobs_.pop_front();
    helper_busy_ = true;
    lock.unlock();
    run(reader, job);
    lock.lock();
    helper_busy_ = false;
    changed_.notify_all();
  }
}

bool ReadQueue::run_one() {
  ReadJob job;
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.empty()) return false;
    job = std::move(jobs_.back());
    jobs_.pop_back();
  }
  run(own_reader_, job);
  return true;
}

void ReadQueue::run(FileReader& reader, const ReadJob& job) {
  try {
    for (TreeFile* file : job.files) {
      const FileReader::Read read = reader.read(job.directory->get(), file->name, job.path + file->name);
      if (!read.permitted) {
        const std::lock_guard lock(mutex_);
        unreadable_.push_back(job.path + file->name);
        continue;
      }
      file->type = read.type;
      file->content = read.content;
      file->stamp = read.stamp;
      file->settled = read.settled;
    }
  } catch (...) {  // the top of a worker: the walking thread throws it on
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    jobs_.clear();
  }
}

std::vector<std::string> ReadQueue::finish() {
  while (run_one()) {
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !helper_busy_; });
  rethrow_failure();
  return std::move(unreadable_);
}

void ReadQueue::rethrow_failure() {
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace runner::snapshot
