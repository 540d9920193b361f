// Run history in runner.db. What is acknowledged here is on disk unless a comment says otherwise.
// Concurrent writers share commits (group_commit.hpp); readers have connections of their own. Any thread may call.
// Every function that takes an id throws Error(kNotFound) for an unknown one, kNoSpace when the disk is full (nothing
// has changed then), kInternal for a damaged file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"

namespace runner::store {

class HistoryCheck;

struct RunFilter {
  std::optional<std::string> experiment;
  std::optional<RunStatus> status;
  std::vector<std::pair<std::string, std::optional<std::string>>> tags;        // no value: has the tag
  std::vector<std::pair<std::string, std::optional<std::string>>> properties;  // ANDed
  std::optional<std::string> parent;                                           // only children of this run
  bool include_children = false;                                               // else top level only (unless `parent`)
  std::optional<UtcTime> since;                                                // created at or after
  std::optional<std::int64_t> limit;                                           // of the newest
};

struct MetricSummary {
  std::string name;
  std::int64_t count = 0;
  MetricPoint last;
  std::optional<double> min, max;  // of the finite numbers
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
  // run exists.
  Added add_run(const RunRecord& run, std::span<const Artifact> artifacts = {});

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
  // The end, durably and once: final status, outcome, error and artifacts in one transaction. False if it has ended
  // already.
  bool finish(const std::string& id, RunStatus final_status, const std::string& reason, const Outcome& outcome,
              const std::optional<RunError>& error, UtcTime ended, std::span<const Artifact> artifacts);

  // The attempt ended at `ended` and left `artifacts` (whose names say of which attempt they are): the run waits in the
  // queue for its next one, without metrics. Durably. False, and nothing changed, if the run has ended, is to be
  // cancelled, or is not at `attempt` any more.
  bool begin_next_attempt(const std::string& id, int attempt, UtcTime ended, const std::string& reason,
                          std::span<const Artifact> artifacts);
  // What it was given, before it starts. Not synced.
  void set_gpus(const std::string& id, const std::vector<std::string>& gpus);

  // Points and the journal offset they reach to, in one transaction. Not synced (at most 100 ms may be lost to a power
  // cut; the journal is read again from the offset). No-op if `journal_offset` is not beyond the stored one, or the run
  // is not at `attempt`.
  void add_metrics(const std::string& id, std::span<const MetricPoint> points, std::int64_t journal_offset,
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
  // Newest first, by the order of submission (a wall clock may step back). Error(kNotFound) for an unknown parent.
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
  std::vector<std::string> notices(const std::string& id) const;
  std::vector<MetricSummary> metric_summaries(const std::string& id) const;                      // by name
  std::vector<MetricPoint> metric_points(const std::string& id, const std::string& name) const;  // in log order
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
