// What may change of a run whether it has ended or not, and that it goes.
#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"
#include "store/history.hpp"
#include "store/history_rows.hpp"
#include "store/ledger.hpp"

namespace runner::store {
namespace {

bool has_ended(Connection& connection, std::int64_t seq) {
  return connection.query("SELECT 1 FROM run WHERE seq = ? AND ended IS NOT NULL", seq).next();
}

// True if something was added.
bool add_properties(Connection& connection, std::int64_t seq, const std::string& id,
                    const std::map<std::string, std::string>& properties) {
  bool added = false;
  for (const auto& [key, value] : properties) {
    Query present = connection.query("SELECT value FROM property WHERE run = ? AND key = ?", seq, key);
    if (!present.next()) {
      connection.run("INSERT INTO property(run, key, value) VALUES (?, ?, ?)", seq, key, value);
      added = true;
    } else if (present.text(0) != value) {
      throw Error(
          ErrorCode::kConflict,
          "run " + id + ": property '" + key + "' is '" + present.string(0) + "' and cannot become '" + value + "'",
          "a property is set once; use a tag for what changes");
    }
  }
  return added;
}

void require_few(Connection& connection, std::int64_t seq, const std::string& id, const RunChanges& changes) {
  Query count = connection.query(
      "SELECT (SELECT count(*) FROM tag WHERE run = ?1), (SELECT count(*) FROM property WHERE run = ?1)", seq);
  if (!count.next()) return;
  const auto most = static_cast<std::int64_t>(kMaxTags);
  const bool tags = !changes.tags.empty() && count.integer(0) > most;
  if (!tags && (changes.properties.empty() || count.integer(1) <= most)) return;
  throw Error(ErrorCode::kInvalid, "run " + id + ": '" + (tags ? "tags" : "properties") + "': no more than " +
                                       std::to_string(kMaxTags) + " of a run");
}

// What runs below it and itself, the oldest first: a child is younger than its parent.
std::vector<std::pair<std::int64_t, std::string>> family_of(Connection& connection, std::int64_t seq) {
  std::vector<std::pair<std::int64_t, std::string>> family;
  Query query = connection.query(
      "WITH RECURSIVE tree(seq) AS (SELECT ?1 UNION ALL SELECT r.seq FROM run r JOIN tree ON r.parent = tree.seq"
      " WHERE r.seq > tree.seq) SELECT r.seq, r.id FROM tree JOIN run r ON r.seq = tree.seq ORDER BY r.seq",
      seq);
  while (query.next()) family.emplace_back(query.integer(0), query.string(1));
  return family;
}

void refuse_needed(Connection& connection, const std::string& id) {
  Query waits = connection.query(
      "SELECT r.id FROM run r JOIN submission s ON s.run = r.seq WHERE r.status IN ('NotStarted', 'Preparing', "
      "'Queued',"
      " 'Starting') AND json_valid(s.definition) AND EXISTS (SELECT 1 FROM json_each(s.definition, '$.after')"
      " WHERE key = ?) LIMIT 1",
      id);
  if (waits.next())
    throw Error(ErrorCode::kConflict, "run " + id + " cannot be deleted: run " + waits.string(0) + " waits for it",
                "it can be deleted when that one has started; `runner cancel` ends the wait");
}

}  // namespace

RunRecord History::update(const std::string& id, const RunChanges& changes, UtcTime now) {
  RunRecord run;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    const std::int64_t seq = seq_of(connection, id);
    if (changes.name) connection.run("UPDATE run SET name = ?2 WHERE seq = ?1", seq, *changes.name);
    for (const std::string& key : changes.remove_tags)
      connection.run("DELETE FROM tag WHERE run = ? AND key = ?", seq, key);
    for (const auto& [key, value] : changes.tags)
      connection.run(
          "INSERT INTO tag(run, key, value) VALUES (?, ?, ?) ON CONFLICT(run, key) DO UPDATE SET value = "
          "excluded.value",
          seq, key, value);
    const bool added = add_properties(connection, seq, id, changes.properties);
    require_few(connection, seq, id, changes);
    if (changes.name || !changes.tags.empty() || !changes.remove_tags.empty()) update_words(connection, seq);
    if (added && has_ended(connection, seq))
      record_in_ledger(connection, impl_->sha256, seq, LedgerKind::kAmended, now);
    run = load_run(connection, seq);
  });
  return run;
}

std::vector<std::string> History::remove(const std::string& id, UtcTime now) {
  std::vector<std::string> removed;
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    removed.clear();
    const auto family = family_of(connection, seq_of(connection, id));
    for (const auto& [seq, member] : family) {
      if (!has_ended(connection, seq))
        throw Error(ErrorCode::kConflict,
                    member == id ? "run " + id + " has not ended"
                                 : "run " + id + " cannot be deleted: run " + member + " below it has not ended",
                    "`runner cancel` ends it");
      refuse_needed(connection, member);
    }
    for (auto member = family.rbegin(); member != family.rend(); ++member) {
      record_in_ledger(connection, impl_->sha256, member->first, LedgerKind::kDeleted, now);
      connection.run("DELETE FROM run_text WHERE rowid = ?", member->first);
      connection.run("DELETE FROM run WHERE seq = ?", member->first);
    }
    for (const auto& [seq, member] : family) removed.push_back(member);
  });
  return removed;
}

std::optional<UtcTime> History::removed_at(const std::string& id) const {
  const auto reader = impl_->database.read();
  Query query = reader->query("SELECT time FROM ledger WHERE run_id = ? AND kind = 'deleted'", id);
  return query.next() ? std::optional(query.time(0)) : std::nullopt;
}

}  // namespace runner::store
