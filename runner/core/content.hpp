// What snapshots and outputs share: content named by its SHA-256, and the narrow doors to the content store.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace runner {

struct Hash {
  std::array<std::uint8_t, 32> bytes{};  // SHA-256

  auto operator<=>(const Hash&) const = default;
  std::string hex() const;  // 64 lower-case digits
  static std::optional<Hash> from_hex(std::string_view text);
};

struct HashHasher {
  std::size_t operator()(const Hash& hash) const noexcept;
};

// Fills the buffer and says how many bytes it wrote; 0 is the end. May throw.
using ReadSome = std::function<std::size_t(std::span<std::byte>)>;
// Takes the next piece. May throw to stop.
using WriteSome = std::function<void(std::span<const std::byte>)>;

// One batch of content on its way into the store. `put` may be called from several threads at once and keeps memory
// bounded (it blocks while the disk is behind). Nothing is promised before `commit` returns; after that everything put
// is durable. Dropping the batch without a commit leaves at most unreferenced chunks, which `gc` removes. Errors:
// Error(kNoSpace) when the disk is full, Error(kInternal) for a damaged database.
class ContentBatch {
 public:
  virtual ~ContentBatch() = default;
  virtual Hash put(std::span<const std::byte> content) = 0;
  struct Stored {
    Hash hash;
    std::int64_t bytes;
  };
  virtual Stored put_stream(const ReadSome& read) = 0;  // content of any length in bounded memory
  // Whether this content is in the store already and stays there until this batch ends: it need not be put again. "No"
  // is always a correct answer. Several threads at once, cheap enough to be asked for every file of a tree.
  virtual bool known(const Hash& hash) {
    static_cast<void>(hash);
    return false;
  }
  // What spares a cache of hashes the asking. As long as this number is the one of an earlier batch, whatever that
  // batch found or committed is in the store still, and stays until this batch ends. 0: nothing can be said (a
  // collection is under way, or the store keeps no count); then every hash is to be asked for with `known`. The same
  // for the whole life of a batch. Who writes hashes down beside a number takes it from the batch that stored them.
  virtual std::uint64_t generation() const { return 0; }
  virtual void commit() = 0;
};

class ContentWriter {
 public:
  virtual ~ContentWriter() = default;
  virtual std::unique_ptr<ContentBatch> begin() = 0;
};

// Any thread. Every piece is checked against its hash before it is handed on.
class ContentReader {
 public:
  virtual ~ContentReader() = default;
  virtual bool contains(const Hash& hash) const = 0;
  virtual std::int64_t size(const Hash& hash) const = 0;  // bytes; Error(kNotFound)
  // Bytes [offset, offset+length) of the content, in order, in pieces of at most about 1 MiB; `length` < 0 is to the
  // end. Error(kNotFound) if absent, Error(kInternal) if damaged.
  virtual void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const = 0;
  std::string read_all(const Hash& hash) const;  // for small content
};

}  // namespace runner
