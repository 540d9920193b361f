// Single runs of runner.db: by name, and what hangs on them. Lists are in history_list.cpp, metrics in
// history_metrics.cpp.
#include <algorithm>
#include <charconv>

#include "store/history.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kTailDigits = 8;  // of an id, see RunRecord::id
constexpr std::size_t kMatchesShown = 10;

// "@last", "@last-N"; nothing for any other name.
std::optional<std::int64_t> last_index(std::string_view name) {
  constexpr std::string_view kLast = "@last";
  if (!name.starts_with(kLast)) return std::nullopt;
  name.remove_prefix(kLast.size());
  if (name.empty()) return 0;
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), index);
  if (name.front() != '-' || name.size() < 2 || error != std::errc() || end != name.data() + name.size() || index < 0)
    return std::nullopt;
  return index;
}

// The smallest text above everything that starts with `prefix`, in memcmp order; nothing if there is none.
std::optional<std::string> above(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return std::nullopt;
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

std::vector<std::string> matches(Connection& connection, const std::string& name) {
  std::vector<std::string> found;
  const std::int64_t enough = kMatchesShown + 1;
  if (const auto end = above(name)) {
    Query query =
        connection.query("SELECT id FROM run WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", name, *end, enough);
    while (query.next()) found.push_back(query.string(0));
  }
  if (name.size() == kTailDigits) {
    Query query = connection.query("SELECT id FROM run WHERE substr(id, -8) = ? ORDER BY seq LIMIT ?", name, enough);
    while (query.next())
      if (std::find(found.begin(), found.end(), query.text(0)) == found.end()) found.push_back(query.string(0));
  }
  return found;
}

Error ambiguous(const std::string& name, const std::vector<std::string>& found) {
  std::string list;
  for (std::size_t i = 0; i < std::min(found.size(), kMatchesShown); ++i) list += (i == 0 ? "" : ", ") + found[i];
  if (found.size() > kMatchesShown) list += ", …";
  return Error(ErrorCode::kInvalid, "\"" + name + "\" names more than one run: " + list, "give more of the id");
}

}  // namespace

std::string History::resolve(const std::string& name) const {
  if (name.empty()) throw Error(ErrorCode::kInvalid, "the name of a run is empty");
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  if (const auto index = last_index(name)) {
    Query query = reader->query("SELECT id FROM run WHERE parent IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?", *index);
    if (!query.next()) throw no_such_run(name);
    return query.string(0);
  }
  if (Query query = reader->query("SELECT id FROM run WHERE id = ?", name); query.next()) return query.string(0);
  const std::vector<std::string> found = matches(*reader, name);
  if (found.empty()) throw no_such_run(name);
  if (found.size() > 1) throw ambiguous(name, found);
  return found.front();
}

RunRecord History::get(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  return load_run(*reader, seq_of(*reader, id));
}

std::optional<RunRecord> History::find_by_key(const std::string& idempotency_key) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  Query query = reader->query("SELECT seq FROM run WHERE idempotency_key = ?", idempotency_key);
  if (!query.next()) return std::nullopt;
  return load_run(*reader, query.integer(0));
}

std::vector<Artifact> History::artifacts(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<Artifact> found;
  Query query =
      reader->query("SELECT name, bytes, sha256 FROM artifact WHERE run = ? ORDER BY name", seq_of(*reader, id));
  while (query.next()) found.push_back({query.string(0), query.integer(1), query.hash(2)});
  return found;
}

std::optional<Artifact> History::artifact(const std::string& id, const std::string& name) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  Query query =
      reader->query("SELECT bytes, sha256 FROM artifact WHERE run = ? AND name = ?", seq_of(*reader, id), name);
  if (!query.next()) return std::nullopt;
  return Artifact{.name = name, .bytes = query.integer(0), .sha256 = query.hash(1)};
}

std::int64_t History::artifact_count(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  Query query = reader->query("SELECT count(*) FROM artifact WHERE run = ?", seq_of(*reader, id));
  query.next();
  return query.integer(0);
}

std::vector<std::string> History::notices(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<std::string> found;
  Query query = reader->query("SELECT text FROM notice WHERE run = ? ORDER BY number", seq_of(*reader, id));
  while (query.next()) found.push_back(query.string(0));
  return found;
}

std::vector<std::pair<std::string, std::string>> History::parameters(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<std::pair<std::string, std::string>> found;
  Query query = reader->query("SELECT key, value FROM parameter WHERE run = ? ORDER BY key", seq_of(*reader, id));
  while (query.next()) found.emplace_back(query.string(0), query.string(1));
  return found;
}

std::optional<History::Standing> History::standing(const std::string& id) const {
  const auto reader = impl_->database.read();
  for (const char* const table : {"run", "run NOT INDEXED"}) {
    Query query = reader->query_once(std::string("SELECT ended IS NOT NULL, snapshot FROM ") + table + " WHERE id = ?");
    query.bind(1, id);
    if (!query.next()) continue;
    Standing standing{.ended = query.integer(0) != 0, .snapshot = std::nullopt};
    if (!query.is_null(1)) standing.snapshot = query.hash(1);
    return standing;
  }
  return std::nullopt;
}

bool History::queue_held() const {
  const auto reader = impl_->database.read();
  Query query = reader->query("SELECT held FROM queue");
  return query.next() && query.integer(0) != 0;
}

bool History::cancel_fails(const std::string& id) const {
  const auto reader = impl_->database.read();
  Query query = reader->query("SELECT asked_to_end IS 'fail' FROM run WHERE id = ?", id);
  if (!query.next()) throw no_such_run(id);
  return query.integer(0) != 0;
}

std::vector<std::string> History::experiments() const {
  const auto reader = impl_->database.read();
  std::vector<std::string> found;
  for (Query query = reader->query("SELECT name FROM experiment ORDER BY name"); query.next();)
    found.push_back(query.string(0));
  return found;
}

std::optional<UtcTime> History::newest_time() const {
  const auto reader = impl_->database.read();
  Query query = reader->query(
      "SELECT max(coalesce((SELECT max(created) FROM run), 0),"
      " coalesce((SELECT max(ended) FROM (SELECT ended FROM run ORDER BY seq DESC LIMIT 100)), 0))");
  if (!query.next() || query.integer(0) == 0) return std::nullopt;
  return query.time(0);
}

}  // namespace runner::store
