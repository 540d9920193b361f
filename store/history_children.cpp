// Children that nothing is executed for: their parent's script says what they are. And what both these and the runs
// that a script submits need of those above them.
#include <string_view>
#include <unordered_set>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"
#include "store/history.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

RunRecord record_of(const NewChild& child, const std::string& parent, UtcTime created) {
  RunRecord run;
  run.id = child.id;
  run.kind = RunKind::kChild;
  run.name = child.name;
  run.status = RunStatus::kRunning;
  run.created = created;
  run.started = created;
  run.parent = parent;
  run.tags = child.tags;
  run.properties = child.properties;
  run.environment.kind = "none";
  run.definition.isolation = Isolation::kNone;
  return run;
}

// Where the children of one request belong.
struct Parent {
  std::int64_t seq = 0;
  std::string name, experiment;
  bool ended = false;
  std::int64_t children = 0;
};

Parent parent_of_all(Connection& connection, const std::string& id) {
  Query query = connection.query(
      "SELECT r.seq, r.name, e.name, r.ended IS NOT NULL, (SELECT count(*) FROM run c WHERE c.parent = r.seq)"
      " FROM run r JOIN experiment e ON e.id = r.experiment WHERE r.id = ?",
      id);
  if (!query.next()) throw no_such_run(id);
  return {.seq = query.integer(0),
          .name = query.string(1),
          .experiment = query.string(2),
          .ended = query.integer(3) != 0,
          .children = query.integer(4)};
}

// Whether it is there under this parent.
bool is_there(Connection& connection, const std::string& child, std::int64_t parent) {
  Query query = connection.query("SELECT parent IS ?2 AND kind = 'child' FROM run WHERE id = ?1", child, parent);
  if (!query.next()) return false;
  if (query.integer(0) == 0)
    throw Error(ErrorCode::kConflict, "run id " + child + " belongs to another run", "choose another uuid4");
  return true;
}

// The parent's part is cut, not the child's own: that tells one from the other.
std::string display_name(const std::string& parent, const std::string& own) {
  const std::size_t left = own.size() + 1 < kMaxRunName ? kMaxRunName - own.size() - 1 : 0;
  return shortened(shortened(parent, left) + ">" + own, kMaxRunName);
}

}  // namespace

void require_place(Connection& connection, std::int64_t seq) {
  const auto most = static_cast<std::int64_t>(kMaxRunsBelow);
  const auto newest = [&connection] {
    Query query = connection.query("SELECT max(seq) FROM run");
    return query.next() ? query.integer(0) : 0;
  }();
  if (newest <= most) return;
  std::int64_t top = seq;
  for (bool climbs = true; climbs;) {
    Query query = connection.query(
        "SELECT parent FROM run JOIN submission ON submission.run = seq WHERE seq = ? AND parent < seq"
        " AND (kind = 'child' OR json_valid(definition) AND json_extract(definition, '$.within') IS NOT NULL)",
        top);
    climbs = query.next();
    if (climbs) top = query.integer(0);
  }
  // What is below it is newer than it: most often there is nothing to count.
  if (newest - top <= most) return;
  Query below = connection.query(
      "WITH RECURSIVE tree(seq) AS (SELECT ?1 UNION ALL SELECT c.seq FROM tree CROSS JOIN run c INDEXED BY"
      " run_by_parent ON c.parent = tree.seq AND c.seq > tree.seq) SELECT count(*) - 1 FROM (SELECT 1 FROM tree"
      " LIMIT ?2 + 2)",
      top, most);
  if (!below.next() || below.integer(0) <= most) return;
  Query id = connection.query("SELECT id FROM run WHERE seq = ?", top);
  throw Error(ErrorCode::kConflict, "run " + (id.next() ? id.string(0) : "#" + std::to_string(top)) +
                                        ": no more than " + std::to_string(kMaxRunsBelow) + " runs below it");
}

void require_asker(Connection& connection, const History::Asker& asker, const std::optional<std::string>& parent) {
  Query query = connection.query(
      "SELECT attempt, ended IS NOT NULL OR status = 'CancelRequested' FROM run WHERE id = ?", asker.run);
  if (!query.next()) throw no_such_run(asker.run);
  if (query.integer(0) != asker.attempt || query.integer(1) != 0)
    throw Error(ErrorCode::kConflict, "run " + asker.run + " has ended, or is about to: it gets no more children");
  if (!parent || *parent == asker.run) return;
  Query above =
      connection.query("SELECT ended IS NOT NULL OR status = 'CancelRequested' FROM run WHERE id = ?", *parent);
  if (!above.next()) throw no_such_run(*parent);
  if (above.integer(0) != 0)
    throw Error(ErrorCode::kConflict, "run " + *parent + " has ended, or is about to: it gets no more children");
}

std::vector<RunRecord> History::add_children(const std::string& parent_id, std::span<const NewChild> children,
                                             UtcTime created) {
  std::vector<RunRecord> runs;
  std::vector<RunDocuments> documents;
  std::unordered_set<std::string_view> ids;
  for (const NewChild& child : children) {
    if (!ids.insert(child.id).second)
      throw Error(ErrorCode::kConflict, "two children have the id " + child.id, "give each an id of its own");
    runs.push_back(record_of(child, parent_id, created));
    documents.emplace_back(runs.back());
  }
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    Parent parent = parent_of_all(connection, parent_id);
    std::vector<std::pair<std::int64_t, std::size_t>> added;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (is_there(connection, children[i].id, parent.seq)) {
        runs[i] = load_run(connection, seq_of(connection, children[i].id));
        continue;
      }
      if (parent.ended) throw Error(ErrorCode::kConflict, "run " + parent_id + " has ended: it gets no more children");
      ++parent.children;
      runs[i] = record_of(children[i], parent_id, created);  // a shared transaction may be repeated
      runs[i].experiment = parent.experiment;
      runs[i].name =
          display_name(parent.name, children[i].name.empty() ? std::to_string(parent.children) : children[i].name);
      added.emplace_back(insert_run(connection, runs[i], documents[i], {}), i);
      runs[i].queue.position = static_cast<double>(added.back().first);
    }
    if (!added.empty()) require_place(connection, parent.seq);  // all or none
    for (const auto& [seq, i] : added) insert_words(connection, seq, runs[i].definition);
  });
  return runs;
}

std::vector<std::string> History::lineage(const std::string& id) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<std::string> ids;
  Query query = reader->query(
      "WITH RECURSIVE up(seq, id, parent) AS (SELECT seq, id, parent FROM run WHERE seq = ?"
      " UNION ALL SELECT r.seq, r.id, r.parent FROM run r JOIN up ON r.seq = up.parent WHERE r.seq < up.seq)"
      " SELECT id FROM up ORDER BY seq DESC",
      seq_of(*reader, id));
  while (query.next()) ids.push_back(query.string(0));
  return ids;
}

}  // namespace runner::store
