#include "store/content_batch.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "store/chunker.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kDirectBytes = 128U
                                     << 10;  // from here on a chunk gets its own transaction instead of a copy in a lot
// A lot's transaction rewrites about four 64 KiB pages that the previous one has written already.
constexpr std::size_t kLotBytes = 2U << 20;
constexpr std::size_t kLotItems = 4096;
constexpr std::size_t kLotsInFlight = 2;         // with the one being filled and what compression makes: about 10 MiB
constexpr std::size_t kPublishEntries = 65'536;  // 5 MiB of entries; a huge batch publishes its chunks in between
constexpr std::size_t kFirstBuffer = 64U << 10;  // put_stream starts small: most files are

constexpr std::int64_t kReserve = 2 << 20;         // bytes that a batch leaves on the disk
constexpr std::size_t kLittle = 512U << 10;        // bytes of a batch that may use what is kept for it
constexpr std::int64_t kRemovedAtOnce = 32 << 20;  // bytes of content; of a dropped batch

std::int64_t as_signed(std::size_t size) { return static_cast<std::int64_t>(size); }

// A buffer that is not zeroed first.
struct Buffer {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t capacity = 0;

  void grow(std::size_t wanted, std::size_t used) {
    auto larger = std::make_unique_for_overwrite<std::byte[]>(wanted);
    if (used > 0) std::memcpy(larger.get(), bytes.get(), used);
    bytes = std::move(larger);
    capacity = wanted;
  }
};

// While it lives, a transaction may change 64 MiB of pages before any is written.
class LargeCache {
 public:
  explicit LargeCache(Connection& connection) : connection_(connection) {
    Query query = connection.query_once("PRAGMA cache_size");
    usual_ = query.next() ? query.integer(0) : 0;
    set(-65'536);
  }
  ~LargeCache() {
    try {
      set(usual_);
    } catch (const Error&) {
      // It stays large until the file is opened again.
    }
  }
  LargeCache(const LargeCache&) = delete;
  LargeCache& operator=(const LargeCache&) = delete;

 private:
  void set(std::int64_t size) { connection_.execute("PRAGMA cache_size=" + std::to_string(size)); }

  Connection& connection_;
  std::int64_t usual_ = 0;
};

}  // namespace

Batch::Batch(Database& database, const Sha256& sha256, ContentUses& uses, bool reserved)
    : database_(database),
      sha256_(sha256),
      uses_(uses),
      use_(uses),
      generation_(use_.during_collection() || uses.distrusts_any() ? 0 : read_generation(*database.read())),
      reserved_(reserved) {}

Batch::~Batch() {
  try {
    if (!chunks_.empty()) remove_written();
    // 64 KiB pages: an idle daemon does not keep them.
    if (wrote_) database_.write(Sync::kRelaxed, [](Connection& connection) { connection.release_memory(); });
  } catch (const Error&) {
    // The rows stay as garbage that no `content` row names.
  }
}

// From the end of the file backwards. On a full disk each part is cut off at once, in the same transaction: what is
// beyond the new end is neither written to the WAL now nor copied from it later, and so the room that the batch took
// comes back though there was none left to say so.
void Batch::remove_written() {
  const bool full = failure_ && failure_->code() == ErrorCode::kNoSpace;
  std::sort(chunks_.begin(), chunks_.end(), [](const Entry& a, const Entry& b) { return *a.chunk > *b.chunk; });
  for (auto first = chunks_.begin(); first != chunks_.end();) {
    auto last = first;
    for (std::int64_t bytes = 0; last != chunks_.end() && bytes < kRemovedAtOnce; ++last) bytes += last->size;
    database_.write(Sync::kRelaxed, [&](Connection& connection) {
      // Pages that are about to be cut off must not be written to make room in the cache.
      const auto cache = full ? std::make_unique<LargeCache>(connection) : nullptr;
      for (auto entry = first; entry != last; ++entry) connection.run("DELETE FROM chunk WHERE id = ?", *entry->chunk);
      if (full) connection.execute("PRAGMA incremental_vacuum(600)");  // as many pages as may have been freed
    });
    if (full) database_.checkpoint();
    first = last;
  }
}

// Refused while there is still room enough to remove what was written, rather than when the disk is full to the last
// byte.
void Batch::require_room(std::size_t bytes) const {
  if (database_.free_bytes() < as_signed(bytes) + kReserve)
    throw Error(ErrorCode::kNoSpace, "content.db: the disk is full",
                "free some disk space and try again; `runner gc` frees what no run needs");
}

// Putting
// ---------------------------------------------------------------------------------------------------------------

Hash Batch::put(std::span<const std::byte> content) {
  const Hash hash = sha256_.of(content);
  if (content.size() <= kWholeLimit) {
    store_chunk(hash, content);
    return hash;
  }
  if (known(hash)) return hash;
  std::vector<Part> parts;
  for (std::size_t offset = 0; offset < content.size();) {
    const auto chunk = content.subspan(offset, first_chunk(content.subspan(offset)));
    const Hash chunk_hash = sha256_.of(chunk);
    store_chunk(chunk_hash, chunk);
    parts.push_back({hash, as_signed(offset), chunk_hash});
    offset += chunk.size();
  }
  add_content(hash, as_signed(content.size()), std::move(parts));
  return hash;
}

ContentBatch::Stored Batch::put_stream(const ReadSome& read) {
  Buffer buffer;
  buffer.grow(kFirstBuffer, 0);
  std::size_t used = 0;
  bool ended = false;
  // One byte over the limit tells a whole content from a large one.
  const auto fill = [&](std::size_t limit) {
    while (!ended && used < limit) {
      if (used == buffer.capacity) buffer.grow(std::min(2 * buffer.capacity, 2 * kMaxChunk), used);
      const std::size_t got = read({buffer.bytes.get() + used, std::min(buffer.capacity, limit) - used});
      ended = got == 0;
      used += got;
    }
  };
  fill(kWholeLimit + 1);
  if (ended) return {put({buffer.bytes.get(), used}), as_signed(used)};

  Sha256::Stream whole(sha256_);
  std::vector<Part> parts;
  std::int64_t offset = 0;
  for (;;) {
    fill(2 * kMaxChunk);
    if (used == 0) break;
    // Cut while a cut cannot depend on bytes that are still to come; then move the rest to the front.
    std::size_t start = 0;
    while (used - start >= kMaxChunk || (ended && start < used)) {
      const std::span rest(buffer.bytes.get() + start, used - start);
      const auto chunk = rest.first(first_chunk(rest));
      whole.update(chunk);
      const Hash chunk_hash = sha256_.of(chunk);
      store_chunk(chunk_hash, chunk);
      parts.push_back({{}, offset, chunk_hash});
      offset += as_signed(chunk.size());
      start += chunk.size();
    }
    std::memmove(buffer.bytes.get(), buffer.bytes.get() + start, used - start);
    used -= start;
  }
  const Hash hash = whole.finish();
  for (Part& part : parts) part.content = hash;
  if (!known(hash)) add_content(hash, offset, std::move(parts));
  return {hash, offset};
}

// Chunks
// ----------------------------------------------------------------------------------------------------------------

bool Batch::claim(const Hash& hash) {
  uses_.touch(hash);
  const std::lock_guard lock(mutex_);
  check_failure_locked();
  return claimed_.insert(hash).second;
}

void Batch::unclaim(const Hash& hash) {
  const std::lock_guard lock(mutex_);
  claimed_.erase(hash);
}

bool Batch::known(const Hash& hash) {
  uses_.touch(hash);
  if (uses_.distrusts(hash)) return false;
  const auto reader = database_.read();
  return reader->query("SELECT 1 FROM content WHERE hash = ?", hash).next();
}

void Batch::store_chunk(const Hash& hash, std::span<const std::byte> bytes) {
  if (!claim(hash)) return;
  try {
    if (bytes.size() >= kDirectBytes)
      store_at_once(hash, bytes);
    else
      gather(hash, bytes);
  } catch (const Error& error) {
    remember(error);
    throw;
  } catch (...) {  // claimed and not stored: the batch must not be committed
    remember(Error(ErrorCode::kInternal, "a chunk could not be stored"));
    throw;
  }
}

void Batch::store_at_once(const Hash& hash, std::span<const std::byte> bytes) {
  if (known(hash)) {
    unclaim(hash);
    return;
  }
  auto compressor = take_compressor();
  const auto frame = compressor->compress(bytes);
  require_room(frame.value_or(bytes).size());
  std::int64_t id = 0;
  database_.write(Sync::kRelaxed, [&](Connection& connection) {
    connection.run("INSERT INTO chunk(codec, size, data) VALUES (?, ?, ?)",
                   static_cast<int>(frame ? Codec::kZstd : Codec::kPlain), as_signed(bytes.size()),
                   BorrowedBlob{frame.value_or(bytes)});
    id = connection.last_insert_id();
  });
  give_back(std::move(compressor));
  {
    const std::lock_guard lock(mutex_);
    wrote_ = true;
    chunks_.push_back({hash, as_signed(bytes.size()), id});
  }
  publish_when_many();
}

void Batch::gather(const Hash& hash, std::span<const std::byte> bytes) {
  Lot full;
  {
    std::unique_lock lock(mutex_);
    filling_.items.push_back({hash, filling_.bytes.size(), bytes.size()});
    filling_.bytes.insert(filling_.bytes.end(), bytes.begin(), bytes.end());
    if (filling_.bytes.size() < kLotBytes && filling_.items.size() < kLotItems) return;
    lot_written_.wait(lock, [this] { return lots_in_flight_ < kLotsInFlight; });
    // Somebody who waited here too may have taken it.
    if (filling_.bytes.size() < kLotBytes && filling_.items.size() < kLotItems) return;
    full = std::exchange(filling_, {});
    filling_.bytes = take_buffer_locked();
    ++lots_in_flight_;
  }
  struct Landing {
    Batch& batch;
    ~Landing() {
      const std::lock_guard lock(batch.mutex_);
      --batch.lots_in_flight_;
      batch.lot_written_.notify_all();
    }
  };
  {
    const Landing landing{*this};
    write_lot(std::move(full));
  }
  publish_when_many();
}

void Batch::add_content(const Hash& hash, std::int64_t size, std::vector<Part> parts) {
  const std::lock_guard lock(mutex_);
  if (!claimed_.insert(hash).second) return;
  contents_.push_back({hash, size, std::nullopt});
  parts_.insert(parts_.end(), parts.begin(), parts.end());
}

// Lots
// ------------------------------------------------------------------------------------------------------------------

std::span<const std::byte> Batch::PreparedLot::data(const Row& row) const {
  return std::span(row.codec == Codec::kZstd ? compressed : plain).subspan(row.offset, row.stored_size);
}

// Leaves out what the store has, compresses what is worth it.
Batch::PreparedLot Batch::prepare(Lot lot) {
  PreparedLot prepared;
  prepared.plain = std::move(lot.bytes);
  std::vector<bool> is_known(lot.items.size());
  std::vector<std::size_t> by_hash(lot.items.size());
  for (std::size_t i = 0; i < by_hash.size(); ++i) by_hash[i] = i;
  std::sort(by_hash.begin(), by_hash.end(), [&](auto a, auto b) { return lot.items[a].hash < lot.items[b].hash; });
  {
    const auto reader = database_.read();
    const ReadTransaction transaction(*reader);
    for (const std::size_t i : by_hash)  // in the order of the table: each page is visited once
      is_known[i] = !uses_.distrusts(lot.items[i].hash) &&
                    reader->query("SELECT 1 FROM content WHERE hash = ?", lot.items[i].hash).next();
  }
  auto compressor = take_compressor();
  for (std::size_t i = 0; i < lot.items.size(); ++i) {
    const Lot::Item& item = lot.items[i];
    if (is_known[i]) {
      unclaim(item.hash);
      continue;
    }
    Row row{item.hash, as_signed(item.size), Codec::kPlain, item.offset, item.size};
    if (const auto frame = compressor->compress(std::span(prepared.plain).subspan(item.offset, item.size))) {
      row.codec = Codec::kZstd;
      if (prepared.compressed.capacity() == 0) prepared.compressed = take_buffer();
      row.offset = prepared.compressed.size();
      row.stored_size = frame->size();
      prepared.compressed.insert(prepared.compressed.end(), frame->begin(), frame->end());
    }
    prepared.rows.push_back(row);
  }
  give_back(std::move(compressor));
  return prepared;
}

std::vector<std::byte> Batch::take_buffer_locked() {
  std::vector<std::byte> buffer;
  if (buffers_.empty()) {
    buffer.reserve(kLotBytes + kDirectBytes);
  } else {
    buffer = std::move(buffers_.back());
    buffers_.pop_back();
    buffer.clear();
  }
  return buffer;
}

std::vector<std::byte> Batch::take_buffer() {
  const std::lock_guard lock(mutex_);
  return take_buffer_locked();
}

Batch::GivenBack::~GivenBack() {
  const std::lock_guard lock(batch.mutex_);
  for (std::vector<std::byte>* buffer : {&lot.plain, &lot.compressed})
    if (buffer->capacity() >= kLotBytes) batch.buffers_.push_back(std::move(*buffer));
}

void Batch::write_lot(Lot lot) {
  PreparedLot prepared = prepare(std::move(lot));
  const GivenBack given_back{*this, prepared};
  if (prepared.rows.empty()) return;
  require_room(prepared.plain.size());
  std::vector<Entry> entries;
  database_.write(Sync::kRelaxed, [&](Connection& connection) {
    entries.clear();
    insert(connection, prepared, entries);
  });
  const std::lock_guard lock(mutex_);
  wrote_ = true;
  chunks_.insert(chunks_.end(), entries.begin(), entries.end());
}

void Batch::insert(Connection& connection, const PreparedLot& lot, std::vector<Entry>& entries) {
  for (const Row& row : lot.rows) {
    connection.run("INSERT INTO chunk(codec, size, data) VALUES (?, ?, ?)", static_cast<int>(row.codec), row.size,
                   BorrowedBlob{lot.data(row)});
    entries.push_back({row.hash, row.size, connection.last_insert_id()});
  }
}

// Publishing
// ------------------------------------------------------------------------------------------------------------

// Makes chunks visible. Sorted, so that each page of the table is written once however many chunks there are.
void Batch::publish(Connection& connection, std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
  for (const Entry& entry : entries) {
    const bool added = connection.run("INSERT INTO content(hash, size, chunk) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                                      entry.hash, entry.size, entry.chunk) == 1;
    if (!added && uses_.distrusts(entry.hash)) {
      // What stood there is damaged. Its chunk is left to `gc`: a damaged row may name somebody else's.
      connection.run("UPDATE content SET size = ?, chunk = ? WHERE hash = ?", entry.size, entry.chunk, entry.hash);
      connection.run("DELETE FROM part WHERE content = ?", entry.hash);
      continue;
    }
    // Another batch has brought the same chunk meanwhile: one copy is enough.
    if (!added && entry.chunk) connection.run("DELETE FROM chunk WHERE id = ?", *entry.chunk);
  }
}

// Chunks only: a content of several may have some that another thread of this batch is still writing.
void Batch::publish_when_many() {
  std::vector<Entry> entries;
  {
    const std::lock_guard lock(mutex_);
    if (chunks_.size() < kPublishEntries) return;
    entries = std::exchange(chunks_, {});
  }
  try {
    database_.write(Sync::kDurable, [&](Connection& connection) { publish(connection, entries); });
  } catch (const Error&) {
    const std::lock_guard lock(mutex_);
    chunks_.insert(chunks_.end(), entries.begin(), entries.end());  // for the destructor to remove
    throw;
  }
  trust(entries);
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries) claimed_.erase(entry.hash);
}

// What this batch has brought again is as it should be.
void Batch::trust(const std::vector<Entry>& entries) {
  if (!uses_.distrusts_any()) return;
  for (const Entry& entry : entries) uses_.trust(entry.hash);
}

void Batch::commit() {
  Lot last;
  {
    const std::lock_guard lock(mutex_);
    check_failure_locked();
    last = std::exchange(filling_, {});
  }
  try {
    const PreparedLot prepared = prepare(std::move(last));
    if (prepared.rows.empty() && chunks_.empty() && contents_.empty()) {
      claimed_.clear();
      return;  // nothing new: nothing to write, and what was found is durable already
    }
    wrote_ = true;
    // Nothing has been written yet that a failure would have to remove, so this may try.
    if (!reserved_ || !chunks_.empty() || prepared.plain.size() > kLittle) require_room(prepared.plain.size());
    std::vector<Entry> entries;
    database_.write(Sync::kDurable, [&](Connection& connection) {
      entries = chunks_;
      insert(connection, prepared, entries);
      publish(connection, entries);
      publish(connection, contents_);
      for (const Part& part : parts_)
        connection.run("INSERT INTO part(content, offset, chunk) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", part.content,
                       part.offset, part.chunk);
    });
    trust(entries);
    trust(contents_);
  } catch (const Error& error) {
    remember(error);
    throw;
  }
  chunks_.clear();
  contents_.clear();
  parts_.clear();
  claimed_.clear();
}

std::unique_ptr<Compressor> Batch::take_compressor() {
  const std::lock_guard lock(mutex_);
  if (compressors_.empty()) return std::make_unique<Compressor>();
  auto compressor = std::move(compressors_.back());
  compressors_.pop_back();
  return compressor;
}

void Batch::give_back(std::unique_ptr<Compressor> compressor) {
  const std::lock_guard lock(mutex_);
  compressors_.push_back(std::move(compressor));
}

void Batch::check_failure_locked() const {
  if (failure_) throw *failure_;
}

void Batch::remember(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = error;
}

}  // namespace runner::store
