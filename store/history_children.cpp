// Children that nothing is executed for: their parent's script says what they are.
#include "runner/core/error.hpp"
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

}  // namespace

std::vector<RunRecord> History::add_children(const std::string& parent, std::span<const NewChild> children,
                                             UtcTime created) {
  std::vector<RunRecord> runs;
  std::vector<RunDocuments> documents;
  for (const NewChild& child : children) {
    runs.push_back(record_of(child, parent, created));
    documents.emplace_back(runs.back());
  }
  impl_->database.write(Sync::kDurable, [&](Connection& connection) {
    std::string experiment;
    {
      Query query = connection.query(
          "SELECT e.name, r.ended IS NOT NULL FROM run r JOIN experiment e ON e.id = r.experiment WHERE r.id = ?",
          parent);
      if (!query.next()) throw no_such_run(parent);
      if (query.integer(1) != 0)
        throw Error(ErrorCode::kConflict, "run " + parent + " has ended: it gets no more children");
      experiment = query.string(0);
    }
    std::vector<std::int64_t> seqs;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      runs[i].experiment = experiment;
      seqs.push_back(insert_run(connection, runs[i], documents[i], {}));
      runs[i].queue.position = static_cast<double>(seqs.back());
    }
    for (std::size_t i = 0; i < runs.size(); ++i) insert_words(connection, seqs[i], runs[i].definition);
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
