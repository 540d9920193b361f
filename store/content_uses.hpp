// Who relies on what stands in content.db: where batches and a collection (`gc`, `fsck --repair`: whatever deletes
// contents) agree. In memory only: the daemon is the one process that opens the file. Any thread.
//
// The contract (ContentBatch::generation() is its outer side):
// - Whoever relies on contents not named by a row yet holds a Use: every batch does, and so does a caller from before
//   its batch until the row that names the snapshot is written.
// - A Collection first waits for the uses that were there before it. Uses that begin after it started are not waited
//   for: their batches see generation 0, so they ask for every hash, and `touch` it before they ask. Touched contents
//   stay.
// - The collection takes its candidates through `doom` right before it deletes them, and calls `deleted` when that
//   transaction has ended, either way. `touch` of a doomed hash waits for that: what is asked afterwards is the truth.
// - Touching a content of several chunks says nothing about its chunks: the collection keeps those of what it keeps.
// - A transaction that deletes rows of `content` calls `change_generation` too. What only removes `chunk` rows that no
//   `content` row names (a dropped batch) does not.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::store {

class Connection;

class ContentUses {
 public:
  class Use {
   public:
    explicit Use(ContentUses& uses);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    bool during_collection() const { return during_collection_; }  // it began while one was under way

   private:
    ContentUses& uses_;
    std::uint64_t epoch_ = 0;
    bool during_collection_ = false;
  };

  class Collection {
   public:
    // Returns when every earlier use has ended. Error(kConflict) if one has not within `patience`, and at once if
    // another collection is under way. `tick` is called now and then; what it throws ends the waiting. Nothing stays of
    // an attempt that failed.
    explicit Collection(
        ContentUses& uses, std::chrono::milliseconds patience = kPatience, const std::function<void()>& tick = [] {});
    ~Collection();
    Collection(const Collection&) = delete;
    Collection& operator=(const Collection&) = delete;

    // Those of the candidates that nobody has touched: to be deleted in one transaction, at once.
    std::vector<Hash> doom(std::span<const Hash> candidates);
    void deleted();  // that transaction has been committed, or rolled back

   private:
    ContentUses& uses_;
  };

  // Contents that are in the file and could not be read as they were stored. No batch finds them, and a batch that
  // brings one replaces it. `trust` them again when that is committed.
  void distrust(const Hash& hash);
  bool distrusts(const Hash& hash) const;
  bool distrusts_any() const { return distrusts_any_.load(std::memory_order_acquire); }
  void trust(const Hash& hash);

  static constexpr std::chrono::minutes kPatience{1};  // longer than the snapshot of a million files

  // To be called before it is asked whether the store has `hash`, and before it is put. Nearly free while nothing is
  // collected.
  void touch(const Hash& hash);

 private:
  void end_collection_locked();

  std::atomic<bool> distrusts_any_{false};
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::uint64_t epoch_ = 0;                     // rises with every collection
  std::map<std::uint64_t, std::size_t> count_;  // uses by the epoch they began in
  bool collecting_ = false;
  std::unordered_set<Hash, HashHasher> touched_;
  std::unordered_set<Hash, HashHasher> doomed_;
  std::unordered_set<Hash, HashHasher> distrusted_;
};

// The number that ContentBatch::generation() tells: drawn at random whenever rows of `content` are deleted and whenever
// the file is opened, so that a file that was replaced by another or by its own older copy does not show a number it
// had before. Never 0.
std::uint64_t read_generation(Connection& connection);
void change_generation(Connection& connection);  // within the deleting transaction, or at the opening

}  // namespace runner::store
