// One batch of content on its way into content.db. Chunks are hashed and compressed on the threads that put them; small
// ones are gathered into lots, large ones written at once; `content` rows, which make chunks visible, are written with
// the commit.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"
#include "store/chunk_codec.hpp"
#include "store/content_uses.hpp"
#include "store/database.hpp"
#include "store/digest.hpp"

namespace runner::store {

class Batch final : public ContentBatch {
 public:
  // `reserved`: what is small is stored on a full disk, too, from the room that the database keeps.
  Batch(Database& database, const Sha256& sha256, ContentUses& uses, bool reserved = false);
  ~Batch() override;  // removes what was written and not committed

  Hash put(std::span<const std::byte> content) override;
  Stored put_stream(const ReadSome& read) override;
  bool known(const Hash& hash) override;
  std::uint64_t generation() const override { return generation_; }
  void commit() override;  // after every put has returned; the batch may then be used again

 private:
  // Small chunks waiting to be written together.
  struct Lot {
    struct Item {
      Hash hash;
      std::size_t offset;
      std::size_t size;
    };
    std::vector<std::byte> bytes;
    std::vector<Item> items;
  };
  // A row of `chunk` to be.
  struct Row {
    Hash hash;
    std::int64_t size;
    Codec codec;
    std::size_t offset;  // in PreparedLot::compressed, or in the lot's bytes for kPlain
    std::size_t stored_size;
  };
  struct PreparedLot {
    std::vector<std::byte> plain;
    std::vector<std::byte> compressed;
    std::vector<Row> rows;
    std::span<const std::byte> data(const Row& row) const;
  };
  // A row of `content` to be.
  struct Entry {
    Hash hash;
    std::int64_t size;
    std::optional<std::int64_t> chunk;  // nothing: its pieces are in `parts`
  };
  struct Part {
    Hash content;
    std::int64_t offset;
    Hash chunk;
  };

  void remove_written();
  void require_room(std::size_t bytes) const;
  // Buffers of a lot are used again: fresh memory for each would cost a page fault every 4 KiB, a fifth of a snapshot.
  struct GivenBack {
    Batch& batch;
    PreparedLot& lot;
    ~GivenBack();
  };
  std::vector<std::byte> take_buffer();
  std::vector<std::byte> take_buffer_locked();
  bool claim(const Hash& hash);
  void unclaim(const Hash& hash);
  void store_chunk(const Hash& hash, std::span<const std::byte> bytes);
  void store_at_once(const Hash& hash, std::span<const std::byte> bytes);
  void gather(const Hash& hash, std::span<const std::byte> bytes);
  void add_content(const Hash& hash, std::int64_t size, std::vector<Part> parts);
  void write_lot(Lot lot);
  void publish_when_many();
  PreparedLot prepare(Lot lot);
  std::unique_ptr<Compressor> take_compressor();
  void give_back(std::unique_ptr<Compressor> compressor);
  static void insert(Connection& connection, const PreparedLot& lot, std::vector<Entry>& entries);
  void publish(Connection& connection, std::vector<Entry>& entries);
  void trust(const std::vector<Entry>& entries);
  void check_failure_locked() const;
  void remember(const Error& error);

  Database& database_;
  const Sha256& sha256_;
  ContentUses& uses_;
  const ContentUses::Use use_;  // before `generation_`: no collection begins between the two
  const std::uint64_t generation_;
  const bool reserved_;

  std::mutex mutex_;  // for all below; not held over I/O
  std::condition_variable lot_written_;
  Lot filling_;
  std::size_t lots_in_flight_ = 0;
  std::unordered_set<Hash, HashHasher> claimed_;  // some put of this batch brings it
  std::vector<Entry> chunks_;                     // written, not yet published
  std::vector<Entry> contents_;                   // of several chunks; published last
  std::vector<Part> parts_;
  std::vector<std::vector<std::byte>> buffers_;           // idle ones: two for each lot in flight at most
  std::vector<std::unique_ptr<Compressor>> compressors_;  // idle ones: as many as threads have put at once
  std::optional<Error> failure_;                          // the first; the batch cannot be committed any more
  bool wrote_ = false;
};

}  // namespace runner::store
