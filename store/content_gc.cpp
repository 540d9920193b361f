#include "store/content_gc.hpp"

#include <algorithm>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::store {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSlice{25};              // of the writer's time at once: a submit waits no longer for it
constexpr std::int64_t kLittleRoom = 64 << 20;  // bytes free on the disk; the WAL alone may grow to half of it
constexpr std::size_t kLittleSlice = 4;         // rows or pages: well under 1 MiB of WAL
constexpr std::size_t kMostInSlice = 4096;      // rows
constexpr std::size_t kWindow = 65'536;         // rows of garbage in memory: 4 MiB
constexpr std::int64_t kPage = 8192;            // rows read with one query
constexpr std::int64_t kMostChunks = std::int64_t{1} << 33;  // a bitmap of 1 GiB; only a damaged file has such an id

std::int64_t number(Connection& connection, std::string_view sql) {
  Query query = connection.query(sql);
  return query.next() ? query.integer(0) : 0;
}

// An empty chunk that holds the place of the largest id: SQLite gives the next one `max(id) + 1`, so that whatever is
// stored from here on lies behind it, even when the last ones are removed meanwhile. A crash leaves it as garbage.
std::int64_t mark_end_of_chunks(Database& database, bool dry_run) {
  if (dry_run) return number(*database.read(), "SELECT coalesce(max(id), 0) + 1 FROM chunk");
  std::int64_t id = 0;
  database.write(Sync::kRelaxed, [&id](Connection& connection) {
    connection.run("INSERT INTO chunk(codec, size, data) VALUES (0, 0, x'')");
    id = connection.last_insert_id();
  });
  return id;
}

}  // namespace

ContentCollection::ContentCollection(Database& database, ContentUses& uses, bool dry_run, milliseconds patience,
                                     Tick tick)
    : database_(database),
      uses_(uses),
      dry_run_(dry_run),
      tick_(std::move(tick)),
      first_new_chunk_(mark_end_of_chunks(database, dry_run)) {
  try {
    collection_.emplace(uses, patience, tick_);
  } catch (...) {
    const std::int64_t mark = first_new_chunk_;
    if (!dry_run)
      database.write(Sync::kRelaxed, [mark](Connection& c) { c.run("DELETE FROM chunk WHERE id = ?", mark); });
    throw;
  }
}

ContentCollection::~ContentCollection() {
  if (dry_run_) return;
  try {
    database_.write(Sync::kRelaxed, [this](Connection& connection) {
      connection.run("DELETE FROM chunk WHERE id = ?", first_new_chunk_);
      connection.release_memory();
    });
  } catch (const Error&) {
    // It stays as garbage for the next collection.
  }
}

// What stays
// ------------------------------------------------------------------------------------------------------------

void ContentCollection::keep(const Hash& hash) { kept_.insert(hash); }

// The pieces of every large content that stays.
void ContentCollection::keep_pieces() {
  if (std::exchange(pieces_kept_, true)) return;
  Hash content;
  std::int64_t offset = -1;
  for (bool more = true; more;) {
    tick_();
    more = false;
    const auto reader = database_.read();
    Query query = reader->query(
        "SELECT content, offset, chunk FROM part WHERE (content, offset) > (?, ?) ORDER BY content, offset LIMIT ?",
        content, offset, kPage);
    while (query.next()) {
      more = true;
      content = query.hash(0);
      offset = query.integer(1);
      pieces_.insert(query.hash(2));
      if (kept_.contains(content)) kept_.insert(query.hash(2));
    }
  }
}

// Looking
// ---------------------------------------------------------------------------------------------------------------

// The next rows behind the cursor that nothing keeps; the cursor is nothing behind the last row of the table.
std::vector<ContentCollection::Row> ContentCollection::unkept_after(std::optional<Hash>& cursor, bool large,
                                                                    std::size_t limit) const {
  std::vector<Row> rows;
  while (cursor && rows.size() < limit) {
    tick_();
    const auto reader = database_.read();
    Query query =
        reader->query("SELECT hash, size, chunk FROM content WHERE hash > ? ORDER BY hash LIMIT ?", *cursor, kPage);
    std::optional<Hash> last;
    while (rows.size() < limit && query.next()) {
      last = query.hash(0);
      if (kept_.contains(*last) || query.is_null(2) != large) continue;
      rows.push_back({*last, query.integer(1), large ? std::nullopt : std::optional(query.integer(2))});
    }
    cursor = last;
  }
  return rows;
}

void ContentCollection::for_each_garbage(const std::function<void(const Garbage&)>& visit) {
  keep_pieces();
  for (const bool large : {true, false})
    for (std::optional<Hash> cursor = Hash{}; cursor;) {
      std::vector<Garbage> found;
      {
        const auto rows = unkept_after(cursor, large, static_cast<std::size_t>(kPage));
        const auto reader = database_.read();
        for (const Row& row : rows) {
          Garbage garbage{.hash = row.hash, .bytes = row.size, .is_piece = !large && pieces_.contains(row.hash)};
          if (row.chunk) {
            // SQLite knows the length of a blob without reading it.
            Query query = reader->query("SELECT length(data) FROM chunk WHERE id = ?", *row.chunk);
            if (query.next()) garbage.stored_bytes = query.integer(0);
          }
          found.push_back(garbage);
        }
      }
      for (const Garbage& garbage : found) visit(garbage);
    }
}

// Chunks below the mark that no row of `content` names. Batches that were on their way have ended by now, and what
// later ones store lies behind the mark. Only the gaps between named ids are looked at, for the table's pages hold the
// data.
const std::vector<std::int64_t>& ContentCollection::strays() {
  if (strays_) return *strays_;
  if (first_new_chunk_ >= kMostChunks)
    throw Error(ErrorCode::kInternal, "content.db: chunk " + std::to_string(first_new_chunk_) + " cannot be",
                "`runner fsck` says what is damaged");
  std::vector<bool> named(static_cast<std::size_t>(first_new_chunk_ + 1));
  for (std::optional<Hash> cursor = Hash{}; cursor;) {
    tick_();
    const auto reader = database_.read();
    Query query =
        reader->query("SELECT hash, chunk FROM content WHERE hash >= ? ORDER BY hash LIMIT ?", *cursor, kPage);
    std::int64_t count = 0;
    for (; query.next(); ++count) {
      cursor = query.hash(0);
      if (query.is_null(1)) continue;
      const std::int64_t id = query.integer(1);
      if (id <= 0 || id >= first_new_chunk_) continue;
      if (named[static_cast<std::size_t>(id)]) shared_.insert(id);
      named[static_cast<std::size_t>(id)] = true;
    }
    if (count < kPage) cursor.reset();
  }
  strays_.emplace();
  for (std::int64_t first = 1; first < first_new_chunk_;) {
    if (named[static_cast<std::size_t>(first)]) {
      ++first;
      continue;
    }
    std::int64_t last = first;
    while (last + 1 < first_new_chunk_ && !named[static_cast<std::size_t>(last + 1)]) ++last;
    tick_();
    const auto reader = database_.read();
    Query query = reader->query("SELECT id FROM chunk WHERE id BETWEEN ? AND ?", first, last);
    while (query.next()) strays_->push_back(query.integer(0));
    first = last + 1;
  }
  return *strays_;
}

ContentCollection::Total ContentCollection::stray_chunks() {
  Total total;
  const auto& ids = strays();
  for (std::size_t at = 0; at < ids.size();) {
    tick_();
    const auto reader = database_.read();
    for (const std::size_t end = std::min(ids.size(), at + kMostInSlice); at < end; ++at) {
      Query query = reader->query("SELECT length(data) FROM chunk WHERE id = ?", ids[at]);
      if (!query.next() || query.integer(0) == 0) continue;  // an empty one is the mark of a killed collection
      ++total.count;
      total.stored_bytes += query.integer(0);
    }
  }
  return total;
}

// Removing
// --------------------------------------------------------------------------------------------------------------

// One transaction, and the next one's size from how long this one took.
template <class Work>
void ContentCollection::write_slice(const Work& work) {
  std::chrono::nanoseconds took{};
  database_.write(Sync::kRelaxed, [&](Connection& connection) {
    const auto begun = os::monotonic_now();
    work(connection);
    took = os::monotonic_now() - begun;
  });
  if (database_.free_bytes() < kLittleRoom) {
    // On a full disk: the WAL must not need more room than the little there is.
    slice_ = kLittleSlice;
    database_.checkpoint();
    return;
  }
  if (took > kSlice) slice_ = std::max<std::size_t>(1, slice_ / 2);
  if (took < kSlice / 2) slice_ = std::min(kMostInSlice, 2 * slice_);
}

// A damaged row may name somebody else's chunk, which must not go with it.
bool ContentCollection::is_own(std::int64_t chunk) const {
  return chunk < first_new_chunk_ && !shared_.contains(chunk);
}

void ContentCollection::remove(std::span<const Row> rows, Swept& swept) {
  if (database_.free_bytes() < kLittleRoom) slice_ = kLittleSlice;
  while (!rows.empty()) {
    tick_();  // not between `doom` and `deleted`: somebody may wait for that
    const auto slice = rows.first(std::min(rows.size(), slice_));
    rows = rows.subspan(slice.size());
    std::vector<Hash> candidates;
    for (const Row& row : slice) candidates.push_back(row.hash);
    const std::vector<Hash> doomed = collection_->doom(candidates);
    struct Ending {
      ContentUses::Collection& collection;
      ~Ending() { collection.deleted(); }
    } const ending{*collection_};
    if (!doomed.empty())
      write_slice([&](Connection& connection) {
        auto row = slice.begin();
        for (const Hash& hash : doomed) {  // a subsequence of the slice
          row = std::find_if(row, slice.end(), [&](const Row& candidate) { return candidate.hash == hash; });
          if (row->chunk) {
            if (is_own(*row->chunk)) connection.run("DELETE FROM chunk WHERE id = ?", *row->chunk);
          } else {
            connection.run("DELETE FROM part WHERE content = ?", hash);
          }
          connection.run("DELETE FROM content WHERE hash = ?", hash);
        }
        change_generation(connection);
      });
    auto next = doomed.begin();
    for (const Row& row : slice) {
      const bool gone = next != doomed.end() && *next == row.hash;
      if (gone) ++next;
      if (gone) uses_.trust(row.hash);  // if it was damaged: nobody finds it any more
      if (gone && (!row.chunk || !pieces_.contains(row.hash))) ++swept.contents;
      if (!gone) ++swept.spared;
      if (!gone) kept_.insert(row.hash);
    }
  }
}

void ContentCollection::sweep_contents(bool large, Swept& swept) {
  for (std::optional<Hash> cursor = Hash{}; cursor;) {
    std::vector<Row> rows = unkept_after(cursor, large, kWindow);
    // In the order of the data: each of its pages is changed once a window.
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.chunk < b.chunk; });
    remove(rows, swept);
  }
}

void ContentCollection::sweep_strays(Swept& swept) {
  if (database_.free_bytes() < kLittleRoom) slice_ = kLittleSlice;
  std::span<const std::int64_t> ids = strays();
  while (!ids.empty()) {
    tick_();
    const auto slice = ids.first(std::min(ids.size(), slice_));
    ids = ids.subspan(slice.size());
    write_slice([&](Connection& connection) {
      for (const std::int64_t id : slice) connection.run("DELETE FROM chunk WHERE id = ?", id);
    });
    swept.stray_chunks += static_cast<std::int64_t>(slice.size());
  }
  strays_.emplace();
}

ContentCollection::Swept ContentCollection::sweep(bool contents) {
  Swept swept;
  sweep_strays(swept);
  if (!contents) return swept;
  keep_pieces();
  // Contents of several pieces first: a batch that found one has not touched its pieces.
  sweep_contents(true, swept);
  if (swept.spared > 0) {
    pieces_kept_ = false;
    keep_pieces();
  }
  sweep_contents(false, swept);
  return swept;
}

void ContentCollection::shrink() {
  slice_ = database_.free_bytes() < kLittleRoom ? kLittleSlice : 64;  // pages now
  for (std::int64_t free = number(*database_.read(), "PRAGMA freelist_count"); free > 0;) {
    tick_();
    write_slice([this](Connection& connection) {
      connection.execute("PRAGMA incremental_vacuum(" + std::to_string(slice_) + ")");
    });
    const std::int64_t left = number(*database_.read(), "PRAGMA freelist_count");
    if (left >= free) break;
    free = left;
  }
  database_.checkpoint();
}

}  // namespace runner::store
