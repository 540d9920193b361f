#include "store/content_check.hpp"

#include <algorithm>
#include <utility>

#include "runner/core/error.hpp"
#include "store/database_check.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kWindow = 65'536;  // rows in memory: 3 MiB

}  // namespace

std::vector<std::string> ContentCheck::file() const { return check_database(database_); }

// Nothing: it is as it should be, or it is gone by now.
std::optional<std::string> ContentCheck::problem_of(const Hash& hash, bool large) const {
  try {
    std::optional<Sha256::Stream> whole;  // the reader has compared each piece with the piece's name
    if (large) whole.emplace(sha256_);
    reader_.read(hash, 0, -1, [&](std::span<const std::byte> piece) {
      if (whole) whole->update(piece);
      tick_();
    });
    if (whole && whole->finish() != hash)
      return "content " + hash.hex() + " is damaged: its pieces are another content's";
    return std::nullopt;
  } catch (const Error& error) {  // the reader's verdict
    if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
    if (!reader_.contains(hash)) return std::nullopt;
    return error.message();
  }
}

ContentCheck::Progress ContentCheck::contents(
    const std::function<void(const Hash& hash, const std::string& why)>& damaged) const {
  struct Row {
    std::optional<std::int64_t> chunk;
    Hash hash;
    std::int64_t size;
  };
  Progress progress;
  for (std::optional<Hash> cursor = Hash{}; cursor;) {
    std::vector<Row> rows;
    {
      const auto reader = database_.read();
      Query query = reader->query("SELECT hash, size, chunk FROM content WHERE hash > ? ORDER BY hash LIMIT ?", *cursor,
                                  static_cast<std::int64_t>(kWindow));
      while (query.next())
        rows.push_back(
            {query.is_null(2) ? std::nullopt : std::optional(query.integer(2)), query.hash(0), query.integer(1)});
    }
    cursor = rows.empty() ? std::nullopt : std::optional(rows.back().hash);
    // In the order of the data: each of its pages is read once a window.
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.chunk < b.chunk; });
    for (const Row& row : rows) {
      tick_();
      if (const auto problem = problem_of(row.hash, !row.chunk)) damaged(row.hash, *problem);
      ++progress.contents;
      progress.bytes += row.size;
    }
  }
  return progress;
}

std::vector<std::pair<Hash, Hash>> ContentCheck::owners_of(const std::unordered_set<Hash, HashHasher>& pieces) const {
  constexpr std::int64_t kRowsAtOnce = 8192;
  std::vector<std::pair<Hash, Hash>> owners;
  Hash content;
  std::int64_t offset = -1;
  for (bool more = !pieces.empty(); more;) {
    tick_();
    more = false;
    const auto reader = database_.read();
    Query query = reader->query(
        "SELECT content, offset, chunk FROM part WHERE (content, offset) > (?, ?) ORDER BY content, offset LIMIT ?",
        content, offset, kRowsAtOnce);
    while (query.next()) {
      more = true;
      content = query.hash(0);
      offset = query.integer(1);
      if (pieces.contains(query.hash(2))) owners.emplace_back(query.hash(2), content);
    }
  }
  return owners;
}

}  // namespace runner::store
