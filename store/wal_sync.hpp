// Syncs a write-ahead log on behalf of many commits: while one sync is under way, transactions go on, and all that have
// been committed by the time the next one begins share that. Any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>

#include "runner/os/fd.hpp"

namespace runner::store {

// Writes every byte of a log once more where it stands, and syncs: what an earlier process could not sync, or never
// did, is on disk then. The caller is the one who writes; readers may go on. False if the disk refuses.
bool store_again(const std::filesystem::path& wal) noexcept;

class WalSync {
 public:
  explicit WalSync(std::filesystem::path wal) : path_(std::move(wal)) {}

  // Before anything is committed: an error of the disk is told those who had the file open when it came.
  void open();
  // What stands in the log may not be on disk.
  void distrust();

  // One more transaction has been committed to the WAL; its number.
  std::uint64_t committed();
  // Returns when transaction `number` is on disk. Error(kNoSpace or kInternal) if the disk said no: what it was is
  // visible, and nobody knows whether it will be there after a power cut. So it is for every later one, too, until
  // `mended`: a log is read up to its first frame that is missing.
  void await(std::uint64_t number);
  std::uint64_t latest();  // the number of the last commit so far
  // Everything up to `number` has been copied from the log into the database file, and synced there.
  void mended(std::uint64_t number);

 private:
  void sync_file();

  const std::filesystem::path path_;
  os::Fd file_;  // only the one who syncs touches it
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t committed_ = 0;  // these four under mutex_
  std::uint64_t synced_ = 0;
  bool broken_ = false;  // a sync has failed: what is behind `synced_` may have a gap
  bool syncing_ = false;
};

}  // namespace runner::store
