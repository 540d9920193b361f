#include "store/content_store.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "embedded/content_schema.hpp"
#include "runner/core/error.hpp"
#include "store/chunk_codec.hpp"
#include "store/content_batch.hpp"
#include "store/content_check.hpp"
#include "store/content_gc.hpp"
#include "store/content_uses.hpp"
#include "store/database.hpp"
#include "store/digest.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kPiece = 1U << 20;          // bytes handed to a reader at once
constexpr std::int64_t kLargestChunk = 64 << 20;  // bytes; a damaged size must not become an allocation

constexpr std::array kMigrations{
    Migration{2, "the generation",
              "CREATE TABLE generation (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;"
              "INSERT INTO generation VALUES (1, (random() & 9223372036854775807) | 1);"}};

constexpr Schema kSchema{"content.db", 0x52756e43 /* "RunC" */, 2, embedded::content_schema, kMigrations};

constexpr DatabaseOptions kOptions{
    .page_bytes = 65'536,
    .incremental_vacuum = true,
    .enforce_foreign_keys = false,
    .writer_cache_kib = 4096,  // dropped after every batch
    .reader_cache_kib = 2048,
    .checkpoint_pages = 512,  // a WAL of 32 MiB
    .readers = 2,
    .reserve_bytes = 16 << 20,
    .readers_tell_damage = false,  // what cannot be read is one damaged content: see load_chunk
};

Error damaged(const Hash& hash) {
  return Error(ErrorCode::kInternal, "content " + hash.hex() + " is damaged",
               "`runner fsck` lists every damaged content and what refers to it");
}

Error missing(const Hash& hash) {
  return Error(ErrorCode::kNotFound, "content " + hash.hex() + " is not in the store");
}

}  // namespace

class ContentStore::Impl {
 public:
  // A file that was copied back from an older one shows a number that it had before: contents that have come since are
  // gone. So each opening draws a new one. A crash that takes it back is followed by another opening.
  explicit Impl(const std::filesystem::path& path) : database(path, kSchema, kOptions) { forget_generation(); }

  void forget_generation() {
    database.write(Sync::kRelaxed, [](Connection& connection) { change_generation(connection); });
  }

  struct Found {
    std::int64_t size;
    bool whole;  // one chunk
  };
  std::optional<Found> find(const Hash& hash) const {
    const auto reader = database.read();
    Query query = reader->query("SELECT size, chunk FROM content WHERE hash = ?", hash);
    if (!query.next()) return std::nullopt;
    return Found{query.integer(0), !query.is_null(1)};
  }

  // The content of one chunk, checked. No connection is held when it returns.
  std::vector<std::byte> load_chunk(const Hash& hash) const {
    try {
      std::vector<std::byte> bytes = load_stored(hash);
      if (sha256.of(bytes) == hash) return bytes;
    } catch (const Error& error) {  // an adapter's: what SQLite cannot read is damaged, too
      if (error.code() != ErrorCode::kInternal) throw;
    }
    distrust_what_is_there(hash);
    throw damaged(hash);
  }

  // Not what `gc` has removed under the reader's hands.
  void distrust_what_is_there(const Hash& hash) const {
    if (find(hash)) uses.distrust(hash);
  }

  std::vector<std::byte> load_stored(const Hash& hash) const {
    std::vector<std::byte> bytes;
    {
      const auto reader = database.read();
      Query query = reader->query(
          "SELECT c.size, k.size, k.codec, k.data FROM content c JOIN chunk k ON k.id = c.chunk WHERE c.hash = ?",
          hash);
      if (!query.next()) throw damaged(hash);
      const std::int64_t size = query.integer(0);
      if (size < 0 || size > kLargestChunk || size != query.integer(1)) throw damaged(hash);
      bytes.resize(static_cast<std::size_t>(size));
      if (!decode(static_cast<Codec>(query.integer(2)), query.blob(3), bytes)) throw damaged(hash);
    }
    return bytes;
  }

  struct PartAt {
    Hash chunk;
    std::int64_t offset;
  };
  PartAt part_at(const Hash& content, std::int64_t position) const {
    const auto reader = database.read();
    Query query =
        reader->query("SELECT chunk, offset FROM part WHERE content = ? AND offset <= ? ORDER BY offset DESC LIMIT 1",
                      content, position);
    if (!query.next()) throw damaged(content);
    return {query.hash(0), query.integer(1)};
  }

  // The piece that holds this position. A content of several pieces is no better than its pieces.
  std::pair<PartAt, std::vector<std::byte>> load_piece(const Hash& content, bool whole, std::int64_t position) const {
    try {
      const PartAt part = whole ? PartAt{content, 0} : part_at(content, position);
      return {part, load_chunk(part.chunk)};
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInternal) distrust_what_is_there(content);
      throw;
    }
  }

  mutable Database database;
  Sha256 sha256;
  mutable ContentUses uses;
};

ContentStore::ContentStore(const std::filesystem::path& database) : impl_(std::make_unique<Impl>(database)) {}
ContentStore::~ContentStore() = default;

std::unique_ptr<ContentBatch> ContentStore::begin() {
  return std::make_unique<Batch>(impl_->database, impl_->sha256, impl_->uses);
}

std::unique_ptr<ContentBatch> ContentStore::begin_last() {
  constexpr bool kReserved = true;
  return std::make_unique<Batch>(impl_->database, impl_->sha256, impl_->uses, kReserved);
}

std::optional<Error> ContentStore::damage() const { return impl_->database.damage(); }

ContentStore::Hold ContentStore::hold() { return std::make_shared<const ContentUses::Use>(impl_->uses); }

std::unique_ptr<ContentCollection> ContentStore::collect(bool dry_run, std::chrono::milliseconds patience,
                                                         std::function<void()> tick) {
  return std::make_unique<ContentCollection>(impl_->database, impl_->uses, dry_run, patience, std::move(tick));
}

std::unique_ptr<ContentCheck> ContentStore::check(std::function<void()> tick) const {
  return std::make_unique<ContentCheck>(*this, impl_->database, std::move(tick));
}

std::int64_t ContentStore::disk_bytes() const { return impl_->database.disk_bytes(); }

void ContentStore::distrust(const Hash& hash) { impl_->uses.distrust(hash); }

void ContentStore::distrust_caches() { impl_->forget_generation(); }

bool ContentStore::contains(const Hash& hash) const { return impl_->find(hash).has_value(); }

std::int64_t ContentStore::size(const Hash& hash) const {
  const auto found = impl_->find(hash);
  if (!found) throw missing(hash);
  return found->size;
}

std::vector<Hash> ContentStore::find(std::string_view digits, std::size_t limit) const {
  const auto filled = [&](char with) {
    return Hash::from_hex(std::string(digits).append(64 - std::min<std::size_t>(digits.size(), 64), with));
  };
  const auto first = filled('0');
  const auto last = filled('f');
  std::vector<Hash> found;
  if (!first || !last) return found;
  const auto reader = impl_->database.read();
  Query query = reader->query("SELECT hash FROM content WHERE hash BETWEEN ? AND ? ORDER BY hash LIMIT ?", *first,
                              *last, static_cast<std::int64_t>(limit));
  while (query.next()) found.push_back(query.hash(0));
  return found;
}

void ContentStore::read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const {
  const auto found = impl_->find(hash);
  if (!found) throw missing(hash);
  if (offset < 0 || offset > found->size)
    throw Error(ErrorCode::kInvalid, "read content " + hash.hex() + ": offset " + std::to_string(offset) +
                                         " is outside its " + std::to_string(found->size) + " bytes");
  const std::int64_t available = found->size - offset;
  const std::int64_t end = offset + (length < 0 ? available : std::min(length, available));
  // An empty content is checked too.
  if (found->size == 0) impl_->load_chunk(hash);

  while (offset < end) {
    const auto [part, bytes] = impl_->load_piece(hash, found->whole, offset);
    const std::int64_t part_end = part.offset + static_cast<std::int64_t>(bytes.size());
    if (part_end <= offset || part_end > found->size) {
      impl_->distrust_what_is_there(hash);
      throw damaged(hash);
    }
    auto piece = std::span(bytes).subspan(static_cast<std::size_t>(offset - part.offset),
                                          static_cast<std::size_t>(std::min(end, part_end) - offset));
    offset += static_cast<std::int64_t>(piece.size());
    for (; !piece.empty(); piece = piece.subspan(std::min(piece.size(), kPiece)))
      write(piece.first(std::min(piece.size(), kPiece)));
  }
}

}  // namespace runner::store
