// One collection: frees the contents that nothing names. The caller says what is named (`keep`), everything else goes.
//
//   begin      uses that were there before are waited for (content_uses.hpp)
//   keep …     what the history names, read after that
//   measure    what would go, for a plan; changes nothing
//   sweep      deletes it, in short transactions; whatever somebody has touched meanwhile stays
//   shrink     the file gets shorter
//
// Killed at any point it has freed less, and the next one frees the rest. One thread; others go on storing and reading.
// Errors: kNoSpace when not even a deletion fits on the disk, kInternal for a damaged file.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "runner/core/content.hpp"
#include "store/content_uses.hpp"
#include "store/database.hpp"
#include "store/hash_prefixes.hpp"

namespace runner::store {

class ContentCollection {
 public:
  // Called every few milliseconds of work; what it throws ends the collection.
  using Tick = std::function<void()>;

  // Error(kConflict) if another collection is under way, or if a use does not end within `patience`. A dry one writes
  // nothing.
  ContentCollection(Database& database, ContentUses& uses, bool dry_run, std::chrono::milliseconds patience, Tick tick);
  ~ContentCollection();
  ContentCollection(const ContentCollection&) = delete;
  ContentCollection& operator=(const ContentCollection&) = delete;

  void keep(const Hash& hash);
  bool keeps(const Hash& hash) const { return kept_.contains(hash); }

  struct Garbage {
    Hash hash;
    std::int64_t bytes = 0;         // of the content
    std::int64_t stored_bytes = 0;  // in the file; 0 for a content of several pieces
    bool is_piece = false;          // of a larger content that goes, too: not a content that anybody has put
  };
  // In the order of hashes. After the last `keep`.
  void for_each_garbage(const std::function<void(const Garbage&)>& visit);

  struct Total {
    std::int64_t count = 0;
    std::int64_t stored_bytes = 0;
  };
  // Chunks that no content names: what a killed daemon left of batches that were never committed.
  Total stray_chunks();

  struct Swept {
    std::int64_t contents = 0;  // pieces not counted
    std::int64_t spared = 0;    // touched by a batch meanwhile
    std::int64_t stray_chunks = 0;
  };
  // With `contents` false only what was never committed: for when it is not known what is named.
  Swept sweep(bool contents = true);
  // Gives free pages back to the file system.
  void shrink();

 private:
  struct Row {
    Hash hash;
    std::int64_t size;
    std::optional<std::int64_t> chunk;  // nothing: a content of several pieces
  };
  void keep_pieces();
  std::vector<Row> unkept_after(std::optional<Hash>& cursor, bool large, std::size_t limit) const;
  void sweep_contents(bool large, Swept& swept);
  void remove(std::span<const Row> rows, Swept& swept);
  bool is_own(std::int64_t chunk) const;  // after `strays`
  const std::vector<std::int64_t>& strays();
  void sweep_strays(Swept& swept);
  template <class Work>
  void write_slice(const Work& work);

  Database& database_;
  ContentUses& uses_;
  const bool dry_run_;
  const Tick tick_;
  const std::int64_t first_new_chunk_;  // ids from here on belong to batches that began later
  std::optional<ContentUses::Collection> collection_;
  HashPrefixes kept_;
  bool pieces_kept_ = false;
  HashPrefixes pieces_;  // every chunk that a `part` row names
  std::optional<std::vector<std::int64_t>> strays_;
  std::unordered_set<std::int64_t> shared_;  // chunks that more than one row names: damage
  std::size_t slice_ = 64;                   // rows a transaction, adapted to its duration
};

}  // namespace runner::store
