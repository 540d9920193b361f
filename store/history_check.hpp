// Verifying runner.db for `fsck`: what SQLite cannot know of its rows. One thread; reads in short slices while others
// write, so that what appears or ends meanwhile is no problem.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "store/database.hpp"
#include "store/digest.hpp"
#include "store/ledger.hpp"

namespace runner::store {

struct RowProblem {
  std::string text;               // one line naming the row and what is wrong with it
  std::vector<std::string> runs;  // that it belongs to; at most one
  bool derivable = false;         // HistoryCheck::repair sets it right
};

class HistoryCheck {
 public:
  using Tick = std::function<void()>;  // called every few milliseconds of work; what it throws ends the check

  HistoryCheck(Database& database, Tick tick) : database_(database), tick_(std::move(tick)) {}

  // At most kMostProblems of a kind. What cannot be read at all is a problem of its own.
  std::vector<RowProblem> problems() const;
  static constexpr int kMostProblems = 100;

  // To be noted down elsewhere: who rewrites the ledger changes it.
  LedgerHead ledger() const;

  // Sets right what follows from other rows, each kind in a transaction of its own: the summary of a metric's points,
  // the words that runs are found by, the one row of the queue's state, indices. Everything else stays as it is.
  void repair() const;
  // The size of the very content that the artifact names, when that is known to be sound.
  void correct_artifact_size(const std::string& run, const std::string& name, std::int64_t bytes) const;

 private:
  void check_sets(std::vector<RowProblem>& problems) const;
  void check_runs(std::vector<RowProblem>& problems) const;
  void check_environments(std::vector<RowProblem>& problems) const;
  void check_ledger(std::vector<RowProblem>& problems) const;  // these in ledger_check.cpp
  void check_chain(std::vector<RowProblem>& problems) const;
  void check_final_records(std::vector<RowProblem>& problems) const;

  Database& database_;
  const Tick tick_;
  const Sha256 sha256_;
};

}  // namespace runner::store
