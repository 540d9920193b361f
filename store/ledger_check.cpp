// The ledger against itself, and final records against the ledger.
#include <string>
#include <vector>

#include "runner/core/error.hpp"
#include "store/history_check.hpp"
#include "store/run_digest.hpp"

namespace runner::store {
namespace {

constexpr int kEntriesAtOnce = 1000;
constexpr int kRunsAtOnce = 256;

struct Entry {
  std::int64_t number = 0;
  std::string run, kind;
  Hash digest, previous, hash;
};

RowProblem about_run(const std::string& id, const std::string& text) {
  return {.text = "run " + id + ": " + text, .runs = {id}};
}

}  // namespace

void HistoryCheck::check_chain(std::vector<RowProblem>& problems) const {
  Entry last;
  for (bool more = true; more;) {
    tick_();
    const auto reader = database_.read();
    Query query = reader->query(
        "SELECT number, run_id, kind, digest, previous, hash FROM ledger WHERE number > ? ORDER BY number LIMIT ?",
        last.number, kEntriesAtOnce);
    for (more = false; query.next(); more = true) {
      Entry entry{.number = query.integer(0),
                  .run = query.string(1),
                  .kind = query.string(2),
                  .digest = query.hash(3),
                  .previous = query.hash(4),
                  .hash = query.hash(5)};
      const std::string name =
          "ledger: entry " + std::to_string(entry.number) + " (" + entry.kind + " " + entry.run + ") ";
      if (entry.number != last.number + 1)
        problems.push_back({.text = name + "follows entry " + std::to_string(last.number), .runs = {}});
      else if (entry.previous != last.hash)
        problems.push_back({.text = name + "names another entry as the one before it", .runs = {}});
      if (entry.hash != ledger_hash(sha256_, entry.previous, entry.kind, entry.run, entry.digest))
        problems.push_back({.text = name + "is not what its hash is of", .runs = {}});
      last = std::move(entry);
      if (problems.size() >= kMostProblems) return;
    }
  }
}

void HistoryCheck::check_final_records(std::vector<RowProblem>& problems) const {
  std::int64_t seq = 0;
  for (bool more = true; more && problems.size() < kMostProblems;) {
    tick_();
    const auto reader = database_.read();
    const ReadTransaction transaction(*reader);  // the row and its entry of one moment
    Query run = reader->query(
        "SELECT r.seq, r.id, r.ended IS NOT NULL, l.kind, l.digest FROM run r LEFT JOIN ledger l ON l.number ="
        " (SELECT max(number) FROM ledger WHERE run_id = r.id) WHERE r.seq > ? ORDER BY r.seq LIMIT ?",
        seq, kRunsAtOnce);
    for (more = false; run.next(); more = true) {
      seq = run.integer(0);
      const std::string id = run.string(1);
      if (run.is_null(3)) {
        if (run.integer(2) != 0) problems.push_back(about_run(id, "has ended, and the ledger does not say how"));
      } else if (run.text(3) == to_string(LedgerKind::kDeleted)) {
        problems.push_back(about_run(id, "was deleted, says the ledger"));
      } else if (run.integer(2) == 0) {
        problems.push_back(about_run(id, "has ended, says the ledger"));
      } else if (run.hash(4) != digest_of_run(*reader, sha256_, seq)) {
        problems.push_back(about_run(id, "is not what the ledger says it was when it ended: it was changed since"));
      }
    }
  }
}

void HistoryCheck::check_ledger(std::vector<RowProblem>& all) const {
  std::vector<RowProblem> problems;
  const auto attempt = [&](const auto& step) {
    try {
      step();
    } catch (const Error& error) {  // an adapter's: what SQLite cannot read is what is looked for
      if (error.code() != ErrorCode::kInternal) throw;
      problems.push_back({.text = error.message(), .runs = {}});
    }
    all.insert(all.end(), problems.begin(), problems.end());
    problems.clear();
  };
  attempt([&] { check_chain(problems); });
  attempt([&] { check_final_records(problems); });
  attempt([&] {
    tick_();
    const auto reader = database_.read();
    Query gone = reader->query(
        "SELECT run_id FROM ledger l WHERE kind <> 'deleted' AND number = (SELECT max(number) FROM ledger WHERE run_id "
        "="
        " l.run_id) AND NOT EXISTS (SELECT 1 FROM run WHERE id = l.run_id) LIMIT ?",
        kMostProblems);
    while (gone.next())
      problems.push_back(about_run(gone.string(0), "is gone, and the ledger does not say that it was deleted"));
  });
}

LedgerHead HistoryCheck::ledger() const {
  const auto reader = database_.read();
  return ledger_head(*reader);
}

}  // namespace runner::store
