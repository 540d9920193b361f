// The story of a run, from submission to record. Start reading here:
//
//   submit   admit → snapshot → git → environment → the run's row (acknowledged: durable)           [connection thread]
//   start    checkout → bundle → shim                                                               [worker]
//   watch    started, log, metrics                                                                  [watch thread]
//   finish   outputs, log → content → the row's end (durable) → the run directory goes              [worker]
//   recover  at the daemon's start: each unfinished row is queued, adopted or ended                 [main thread]
//
// Rule of order: the row first, work second, contents before the row that names them; removal in reverse.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/run.hpp"
#include "runner/exec/sandbox.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/guarded.hpp"
#include "runner/pipeline/configuration.hpp"
#include "runner/pipeline/run_events.hpp"
#include "runner/pipeline/run_watch.hpp"
#include "runner/pipeline/scheduler.hpp"
#include "runner/pipeline/script_command.hpp"
#include "store/content_store.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

class Pipeline {
 public:
  // Opens the databases and brings every unfinished run back to where it belongs. The caller holds the home's lock.
  Pipeline(const os::DataDirectory& data, const Configuration& configuration);
  ~Pipeline();  // live runs go on without us

  struct Submitted {
    RunRecord run;
    bool existed;  // the idempotency key named a run that is there already
    std::vector<std::string> warnings;
  };
  // Returns when the run's row and snapshot are durable. Any thread.
  Submitted submit(const api::Submission& submission);
  // Asks a run to stop; returns at once with its row. Error(kConflict) if it has ended. Any thread.
  RunRecord cancel(const std::string& id, const std::string& reason);
  // Cancels every unfinished run and waits for their ends, at most `limit`.
  void cancel_all(const std::string& reason, std::chrono::milliseconds limit);

  store::History& history() { return history_; }
  store::ContentStore& content() { return content_; }
  RunEvents& events() { return events_; }
  const exec::Sandbox& sandbox() const { return sandbox_; }
  const os::DataDirectory& data() const { return data_; }

 private:
  // submit.cpp
  EnvironmentRef resolve_environment(const std::optional<std::string>& python, bool required,
                                     const envs::Caller& caller) const;
  // start.cpp
  void start(const std::string& id);
  void start_or_throw(const std::string& id);
  exec::SandboxRun sandbox_run(const RunRecord& run, const std::optional<envs::Interpreter>& interpreter);
  void launch(const RunRecord& run);
  std::vector<std::string> visible_paths(const RunRecord& run, const envs::Interpreter& interpreter,
                                         const std::string& working_directory);
  // finish.cpp
  void finish(const std::string& id);
  void finish_once(const std::string& id);
  void finish_or_throw(const std::string& id);
  void end(const RunRecord& run, Outcome outcome, std::optional<RunError> error, std::vector<Artifact> artifacts);
  std::vector<Artifact> collect_artifacts(const RunRecord& run);
  void ingest_metrics(const std::string& id, bool complete);
  void mark_started(const std::string& id);
  // recover.cpp
  void recover();
  void recover_run(const RunRecord& run);
  void remove_orphans(const std::vector<RunRecord>& unfinished);

  const os::DataDirectory data_;
  const Configuration configuration_;
  const Account account_ = own_account();
  store::ContentStore content_;
  store::History history_;
  envs::InterpreterProbe probe_;
  exec::Sandbox sandbox_;
  RunEvents events_;
  os::Guarded<std::map<std::string, int>>
      launches_;  // shims started per run by this daemon, for those that died unclaimed
  os::Guarded<std::map<std::string, bool>>
      finishing_;  // one worker at a time ends a run; true: it shall look once more
  std::unique_ptr<RunWatch> watch_;
  std::unique_ptr<Scheduler> scheduler_;  // last: its workers use everything above
};

}  // namespace runner::pipeline
