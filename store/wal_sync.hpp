// Syncs a write-ahead log on behalf of many commits: while one sync is under way, transactions go on, and all that have
// been committed by the time the next one begins share that. Any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>

#include "runner/os/fd.hpp"

namespace runner::store {

class WalSync {
 public:
  explicit WalSync(std::filesystem::path wal) : path_(std::move(wal)) {}

  // One more transaction has been committed to the WAL; its number.
  std::uint64_t committed();
  // Returns when transaction `number` is on disk. Error(kNoSpace or kInternal) if the disk said no: what it was is
  // visible, and nobody knows whether it will be there after a power cut.
  void await(std::uint64_t number);
  // The same for everything that has been committed so far.
  void await_all();

 private:
  void sync_file();

  const std::filesystem::path path_;
  os::Fd file_;  // only the one who syncs touches it
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t committed_ = 0;  // these five under mutex_
  std::uint64_t synced_ = 0;
  std::uint64_t failed_from_ = 0,
                failed_ = 0;  // behind the one, up to the other: the last sync that failed was for these
  bool syncing_ = false;
};

}  // namespace runner::store
