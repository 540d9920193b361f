#include "store/content_uses.hpp"

#include <algorithm>

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

ContentUses::Collection::Collection(ContentUses& uses) : uses_(uses) {
  std::unique_lock lock(uses_.mutex_);
  uses_.changed_.wait(lock, [&] { return !uses_.collecting_; });
  uses_.collecting_ = true;  // from here on new uses ask and touch
  const std::uint64_t mine = ++uses_.epoch_;
  uses_.changed_.wait(lock, [&] { return uses_.count_.empty() || uses_.count_.begin()->first >= mine; });
}

ContentUses::Collection::~Collection() {
  const std::lock_guard lock(uses_.mutex_);
  uses_.collecting_ = false;
  uses_.touched_ = {};
  uses_.doomed_ = {};
  uses_.changed_.notify_all();
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

std::uint64_t read_generation(Connection& connection) {
  Query query = connection.query("SELECT value FROM generation");
  return query.next() ? static_cast<std::uint64_t>(query.integer(0)) : 0;
}

void change_generation(Connection& connection) {
  connection.run("UPDATE generation SET value = (random() & 9223372036854775807) | 1");
}

}  // namespace runner::store
