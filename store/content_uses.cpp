#include "store/content_uses.hpp"

#include <algorithm>
#include <string>

#include "runner/core/error.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {

ContentUses::Use::Use(ContentUses& uses) : uses_(uses) {
  const std::lock_guard lock(uses_.mutex_);
  epoch_ = uses_.epoch_;
  during_collection_ = uses_.collecting_;
  ++uses_.count_[epoch_];
}

ContentUses::Use::~Use() {
  const std::lock_guard lock(uses_.mutex_);
  const auto counted = uses_.count_.find(epoch_);
  if (--counted->second == 0) uses_.count_.erase(counted);
  uses_.changed_.notify_all();
}

ContentUses::Collection::Collection(ContentUses& uses, std::chrono::milliseconds patience,
                                    const std::function<void()>& tick)
    : uses_(uses) {
  constexpr std::chrono::milliseconds kLook{100};  // between two ticks
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(uses_.mutex_);
  if (uses_.collecting_)
    throw Error(ErrorCode::kConflict, "gc: another gc is under way", "wait for it, then try again if need be");
  uses_.collecting_ = true;  // from here on new uses ask and touch
  const std::uint64_t mine = ++uses_.epoch_;
  const auto earlier_ended = [&] { return uses_.count_.empty() || uses_.count_.begin()->first >= mine; };
  try {
    do {
      if (uses_.changed_.wait_for(lock, std::min(patience, kLook), earlier_ended)) return;
      lock.unlock();  // nothing of ours is held over the callback
      tick();
      lock.lock();
    } while (std::chrono::steady_clock::now() < deadline);
  } catch (...) {
    lock.lock();
    uses_.end_collection_locked();
    throw;
  }
  uses_.end_collection_locked();
  throw Error(ErrorCode::kConflict,
              "gc: a snapshot or upload has been under way for " +
                  std::to_string(std::chrono::duration_cast<std::chrono::seconds>(patience).count()) +
                  " s; nothing may be freed before it ends",
              "try again later");
}

ContentUses::Collection::~Collection() {
  const std::lock_guard lock(uses_.mutex_);
  uses_.end_collection_locked();
}

void ContentUses::end_collection_locked() {
  collecting_ = false;
  touched_ = {};
  doomed_ = {};
  changed_.notify_all();
}

std::vector<Hash> ContentUses::Collection::doom(std::span<const Hash> candidates) {
  std::vector<Hash> doomed;
  const std::lock_guard lock(uses_.mutex_);
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(doomed),
               [&](const Hash& hash) { return !uses_.touched_.contains(hash); });
  uses_.doomed_.insert(doomed.begin(), doomed.end());
  return doomed;
}

void ContentUses::Collection::deleted() {
  const std::lock_guard lock(uses_.mutex_);
  uses_.doomed_.clear();
  uses_.changed_.notify_all();
}

void ContentUses::touch(const Hash& hash) {
  std::unique_lock lock(mutex_);
  if (!collecting_) return;
  touched_.insert(hash);  // first: it is not doomed a second time while this thread waits
  changed_.wait(lock, [&] { return !doomed_.contains(hash); });
}

void ContentUses::distrust(const Hash& hash) {
  const std::lock_guard lock(mutex_);
  distrusted_.insert(hash);
  distrusts_any_.store(true, std::memory_order_release);
}

bool ContentUses::distrusts(const Hash& hash) const {
  if (!distrusts_any()) return false;
  const std::lock_guard lock(mutex_);
  return distrusted_.contains(hash);
}

void ContentUses::trust(const Hash& hash) {
  if (!distrusts_any()) return;
  const std::lock_guard lock(mutex_);
  distrusted_.erase(hash);
  distrusts_any_.store(!distrusted_.empty(), std::memory_order_release);
}

std::uint64_t read_generation(Connection& connection) {
  Query query = connection.query("SELECT value FROM generation");
  return query.next() ? static_cast<std::uint64_t>(query.integer(0)) : 0;
}

void change_generation(Connection& connection) {
  connection.run("UPDATE generation SET value = (random() & 9223372036854775807) | 1");
}

}  // namespace runner::store
