// Run history in runner.db. What is acknowledged here is on disk unless a comment says otherwise.
// Concurrent writers share commits (group_commit.hpp); readers have connections of their own. Any thread may call.
// Every function that takes an id throws Error(kNotFound) for an unknown one, kNoSpace when the disk is full (nothing
// has changed then), kInternal for a damaged file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "store/metric_drops.hpp"
#include "store/run_filter.hpp"

namespace runner::store {

class HistoryCheck;

struct MetricSummary {
  std::string name;
  MetricShape shape = MetricShape::kValue;
  std::int64_t count = 0;               // points, or rows
  std::optional<MetricPoint> last{};    // of points; an empty list has none
  std::optional<double> min{}, max{};   // of the finite numbers
  std::vector<std::string> columns{};   // of rows, in the order of their appearance
  std::optional<MetricRow> last_row{};  // of rows
};

// A run that nothing is executed for.
struct NewChild {
  std::string id;
  std::string name;  // its display name is PARENT>NAME; empty: PARENT>N, the N-th child
  std::map<std::string, std::optional<std::string>> tags{};
  std::map<std::string, std::string> properties{};
};

struct RunChanges {
  std::optional<std::string> name{};
  std::map<std::string, std::optional<std::string>> tags{};  // set, or set anew
  std::vector<std::string> remove_tags{};                    // before others are set; one that is not there is no error
  std::map<std::string, std::string> properties{};           // added
};

class History {
 public:
  // Opens, creates or migrates. Error(kConflict) with a hint for a schema newer than this program's.
  explicit History(const std::filesystem::path& database);
  ~History();

  // Inserts the run (and its experiment), durably. When its idempotency key exists already: the existing run if the
  // submission digests agree, else Error(kConflict). Error(kInvalid) for text that is not UTF-8 in the definition,
  // kNotFound for an unknown parent, kConflict for an id that exists.
  struct Added {
    RunRecord run;
    bool existed;
  };
  // `artifacts`: what the run has from the start (the uncommitted change), in the same transaction; ignored where the
  // run exists. `asker`: a run that a script asks for. Error(kConflict) if that attempt is over by then or is to stop,
  // if the new run's parent is, or if more than kMaxRunsBelow would be below the run that the user has submitted.
  struct Asker {
    std::string run;
    int attempt = 1;
  };
  Added add_run(const RunRecord& run, std::span<const Artifact> artifacts = {},
                const std::optional<Asker>& asker = std::nullopt);

  // Returns when everything that can be read by now is on disk: reads may be a moment ahead of it.
  void make_durable() const;

  // Moves a run that has not ended to `status`; sets `started` when given (first time only). False, and nothing
  // changed, if the run has ended or waits for its cancellation while `status` is not kFinalizing. Not synced: a power
  // cut may lose it, a killed daemon does not. `attempt`: only if the run is at this one.
  bool set_status(const std::string& id, RunStatus status, const std::string& reason,
                  std::optional<UtcTime> started = std::nullopt, std::optional<int> attempt = std::nullopt);
  // What was learnt of the environment after the run was queued. Not synced. Error(kConflict) once the run has ended.
  void set_environment(const std::string& id, const EnvironmentRef& environment);
  // Where in the queue the run waits, durably. False, and nothing changed, if it has ended.
  bool set_queue_place(const std::string& id, const QueuePlace& place);
  // Whether runs are kept from starting, durably.
  void hold_queue(bool held);
  bool queue_held() const;
  // CancelRequested, durably; a second request changes nothing. Returns the ids that were asked, now or before, and
  // have not ended: the run's own first, then its descendants'. In one transaction.
  struct Cancellation {
    std::string reason;
    bool fails = false;      // it shall end as Failed
    bool recursive = false;  // its descendants, too
  };
  std::vector<std::string> request_cancel(const std::string& id, const Cancellation& cancellation);
  bool cancel_fails(const std::string& id) const;
  // The end, durably and once: final status, outcome, error, artifacts and its entry in the ledger in one transaction,
  // which also ends the children of kind `child` that it leaves open, and theirs: Completed as it is, else Canceled.
  // The ids of all that ended, its own first; nothing if it has ended already.
  std::vector<std::string> finish(const std::string& id, RunStatus final_status, const std::string& reason,
                                  const Outcome& outcome, const std::optional<RunError>& error, UtcTime ended,
                                  std::span<const Artifact> artifacts);
  // The same of a run that has no script of its own. Error(kConflict) for one that has.
  std::vector<std::string> end(const std::string& id, RunStatus final_status, const std::string& reason,
                               const std::optional<RunError>& error, UtcTime ended);

  // Children of kind `child`, Running from `created` on, in order and all or none, durably; those that are there under
  // this parent already stay as they are. Error(kConflict) for a parent that has ended, unless nothing is added, and
  // for an id that another run has, or two of them, or when more than kMaxRunsBelow would be below the script's or
  // interactive run they come from, which no script has submitted. Display names are cut to kMaxRunName
  // (run_bounds.hpp). As they are then.
  std::vector<RunRecord> add_children(const std::string& parent, std::span<const NewChild> children, UtcTime created);
  // The run, its parent, that one's parent, and so on.
  std::vector<std::string> lineage(const std::string& id) const;

  // All or nothing, durably, of live and of ended runs; the run as it is then. Error(kConflict) for a property that is
  // there with another value, kInvalid for more than kMaxTags tags or properties. A property that is added after the
  // end is an entry in the ledger, dated `now`.
  RunRecord update(const std::string& id, const RunChanges& changes, UtcTime now);
  // The run and all below it go, durably; in the ledger an entry of each stays, dated `now`. Their ids, its own first.
  // Error(kConflict) while one of them lives, or a run that lives waits for one of them.
  std::vector<std::string> remove(const std::string& id, UtcTime now);
  std::optional<UtcTime> removed_at(const std::string& id) const;  // nothing of a run that was not

  // The attempt ended at `ended` and left `artifacts` (whose names say of which attempt they are; what its script had
  // handed over before is renamed so, too): the run waits in the queue for its next one, without metrics, and its open
  // children are cancelled. Durably. The run's id, then those of the children; nothing, and nothing changed, if the run
  // has ended, is to be cancelled, or is not at `attempt` any more.
  std::vector<std::string> begin_next_attempt(const std::string& id, int attempt, UtcTime ended,
                                              const std::string& reason, std::span<const Artifact> artifacts);
  // What it was given, before it starts. Not synced.
  void set_gpus(const std::string& id, const std::vector<std::string>& gpus);

  // What a journal says and the offset it reaches to, in one transaction; of the run itself and of those below it. What
  // was dropped. Not synced (at most 100 ms may be lost to a power cut; the journal is read again from the offset).
  // No-op if `journal_offset` is not beyond the stored one, or the run is not at `attempt`.
  MetricDrops add_metrics(const std::string& id, std::span<const MetricRecord> records, std::int64_t journal_offset,
                          std::optional<int> attempt = std::nullopt);
  std::int64_t journal_offset(const std::string& id) const;
  // What the run has besides what it had from the start, durably; a name that is there already stays. Ignored for a run
  // that has ended.
  void add_artifacts(const std::string& id, std::span<const Artifact> artifacts);
  // A recorded warning of the run: what was skipped, dropped or could not be enforced. Not synced. Returns its number;
  // with `instead_of`, the number of an earlier one, it takes that one's place. What the run has been told already is
  // not told again, and of more than 200 one line says that there were more.
  std::int64_t add_notice(const std::string& id, const std::string& text, std::int64_t instead_of = 0);

  // "id", unique prefix, 8-hex tail, "@last", "@last-N". Error(kNotFound), or Error(kInvalid) listing what an ambiguous
  // name matches.
  std::string resolve(const std::string& name) const;
  RunRecord get(const std::string& id) const;  // Error(kNotFound)
  // What can be said of a run whose record may be damaged; nothing if there is certainly no such run (an index that
  // has lost it is not believed). For recovery.
  struct Standing {
    bool ended = false;
    std::optional<Hash> snapshot;
  };
  std::optional<Standing> standing(const std::string& id) const;
  std::optional<RunRecord> find_by_key(const std::string& idempotency_key) const;
  // A run whose record cannot be read is told this instead; without it that is an Error(kInternal).
  using Unreadable = std::function<void(const std::string& id, const std::string& why)>;
  // Newest first, by the order of submission (a wall clock may step back). Error(kNotFound) for an unknown parent,
  // kInvalid for what cannot be looked for. With a limit it is a page, which ends early where runs say much of
  // themselves.
  RunPage page(const RunFilter& filter, const Unreadable& unreadable = {}) const;
  std::vector<RunRecord> list(const RunFilter& filter, const Unreadable& unreadable = {}) const;
  // Oldest first, for recovery.
  std::vector<RunRecord> unfinished(const Unreadable& unreadable = {}) const;
  // Error(kNoSpace) when what is left of the disk is for what lives; Error(kUnavailable) when the file is only read.
  // Before what can wait: a submission, the points of a run that still lives.
  void require_room() const;
  bool has_room() const;  // the same, asked
  // Why the file is only read, if it is: it has been found damaged.
  std::optional<Error> damage() const;
  std::vector<Artifact> artifacts(const std::string& id) const;  // by name, bytewise
  std::optional<Artifact> artifact(const std::string& id, const std::string& name) const;
  std::int64_t artifact_count(const std::string& id) const;
  std::vector<std::string> notices(const std::string& id) const;
  std::vector<std::pair<std::string, std::string>> parameters(const std::string& id) const;  // by key (parameters.hpp)
  std::vector<MetricSummary> metric_summaries(const std::string& id) const;                  // by name
  // In log order; with `at_most` no more than so many, evenly spaced with the first and the last kept. Nothing for a
  // name that was not logged, or is of the other shape.
  std::vector<MetricPoint> metric_points(const std::string& id, const std::string& name,
                                         std::optional<std::int64_t> at_most = std::nullopt) const;
  std::vector<MetricRow> metric_rows(const std::string& id, const std::string& name,
                                     std::optional<std::int64_t> at_most = std::nullopt) const;
  // From a number on (the first is 0), some thousand or some MiB at once; nothing at the end.
  std::vector<MetricPoint> metric_points_from(const std::string& id, const std::string& name, std::int64_t from) const;
  std::vector<MetricRow> metric_rows_from(const std::string& id, const std::string& name, std::int64_t from) const;
  std::vector<std::string> experiments() const;
  // Of all that runs record of the clock, as far as it is cheap: the newest creation, and the ends of the newest runs.
  std::optional<UtcTime> newest_time() const;

  // What the runs name in the content store, for `gc` and `fsck`: oldest first, every run that was there when the call
  // began. Nothing is held while `visit` runs.
  struct RunContents {
    std::string id;
    std::optional<Hash> snapshot;
    std::vector<Artifact> artifacts;
  };
  void for_each_run_contents(const std::function<void(const RunContents&)>& visit) const;
  // SQLite's own judgement of the file, one line a problem; reads all of it.
  std::vector<std::string> check_file() const;
  std::unique_ptr<HistoryCheck> check_rows(std::function<void()> tick) const;  // history_check.hpp

 private:
  friend class Environments;  // its tables are in the same file
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::store
