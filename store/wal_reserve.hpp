// Blocks of the disk that belong to a write-ahead log before anything is written to them: what is small and has to be
// recorded (the end of a run, a cancellation) still is when the disk is full, whoever fills it. Not thread-safe: its
// caller is the one who writes.
#pragma once

#include <cstdint>
#include <filesystem>

namespace runner::store {

class WalReserve {
 public:
  WalReserve(std::filesystem::path wal, std::int64_t bytes) : path_(std::move(wal)), bytes_(bytes) {}
  WalReserve(const WalReserve&) = delete;
  WalReserve& operator=(const WalReserve&) = delete;
  ~WalReserve() {
    if (kept_) take_again(true);
  }

  std::int64_t bytes() const { return bytes_; }
  // Takes the blocks, unless the disk is nearly full or its file system cannot. The log's length stays as it is.
  void take() noexcept;
  // Around the emptying of the log, which gives its blocks back: whether they were there before, and the same blocks
  // again, however full the disk is otherwise.
  bool is_there() const noexcept;
  void take_again(bool was_there) noexcept;
  // Before the connections close, which empties the log, too: what is there is taken again when this goes, after them.
  void keep() noexcept { kept_ = is_there(); }

 private:
  const std::filesystem::path path_;
  const std::int64_t bytes_;
  bool kept_ = false;
};

}  // namespace runner::store
