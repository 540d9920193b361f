// The story of a run, from submission to record. Start reading here:
//
//   submit   admit → snapshot → git → environment → the run's row (acknowledged: durable)           [connection thread]
//   prepare  an image that is not here → pulled; an environment that is not built → built  [prepare, build threads]
//   ahead    a run that waits for its slot or image → checkout                                      [checkout thread]
//   queue    its turn, and room for it                                                              [worker]
//   start    checkout → bundle or container → shim                                                  [worker]
//   watch    started, log, metrics                                                                  [watch thread]
//   intake   the files that its script hands over while it runs                                     [intake thread]
//   finish   outputs, log → content → the row's end (durable) → the run directory goes              [worker]
//   recover  at the daemon's start: each unfinished row is queued, adopted or ended                 [main thread]
//
// Rule of order: the row first, work second, contents before the row that names them; removal in reverse.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/api/run_requests.hpp"
#include "runner/api/submission.hpp"
#include "runner/collect/handed_over.hpp"
#include "runner/collect/metric_journal.hpp"
#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "runner/exec/engine_containers.hpp"
#include "runner/exec/run_directories.hpp"
#include "runner/exec/sandbox.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/guarded.hpp"
#include "runner/os/machine.hpp"
#include "runner/os/process.hpp"
#include "runner/pipeline/admission.hpp"
#include "runner/pipeline/clearer.hpp"
#include "runner/pipeline/configuration.hpp"
#include "runner/pipeline/curated_environments.hpp"
#include "runner/pipeline/environment_builds.hpp"
#include "runner/pipeline/keep_awake.hpp"
#include "runner/pipeline/laptop.hpp"
#include "runner/pipeline/machine_signs.hpp"
#include "runner/pipeline/message_bus.hpp"
#include "runner/pipeline/on_end.hpp"
#include "runner/pipeline/prepared_environments.hpp"
#include "runner/pipeline/preparer.hpp"
#include "runner/pipeline/run_events.hpp"
#include "runner/pipeline/run_token.hpp"
#include "runner/pipeline/run_watch.hpp"
#include "runner/pipeline/scheduler.hpp"
#include "runner/pipeline/script_command.hpp"
#include "runner/pipeline/turns.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/usage.hpp"
#include "snapshot/checkouts.hpp"
#include "snapshot/code_diff.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/survey.hpp"
#include "store/content_store.hpp"
#include "store/environments.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

// What says that the script is in the directory and not in its snapshot (submit.cpp).
Error script_left_out(const snapshot::Options& options, const std::string& script);
// The script must be in what will run, not only in the directory (submit.cpp).
void require_script(const ContentReader& content, const Hash& snapshot, const RunDefinition& definition,
                    const snapshot::Options& options);

class Pipeline {
 public:
  // Opens the databases and brings every unfinished run back to where it belongs. The caller holds the home's lock.
  Pipeline(const os::DataDirectory& data, const Configuration& configuration);
  // Live runs go on without us. Whoever asks for something must have gone: begin_stop() sends those away that would be
  // at it for long.
  ~Pipeline();
  // Large files are not read on; what they are read for is refused, or left to the next daemon. Any thread.
  void begin_stop() { stopping_.request_stop(); }

  struct Submitted {
    RunRecord run;
    bool existed;  // the idempotency key named a run that is there already
    std::vector<std::string> warnings;
  };
  // Told before a large snapshot is copied; may be called on another thread than the caller's, which waits meanwhile.
  // Empty: what there was to say is among the warnings afterwards.
  using Notify = std::function<void(const std::string& warning)>;
  // Returns when the run's row and snapshot are durable. Any thread.
  Submitted submit(const api::Submission& submission, const Notify& notify = {});
  // What the script of `asker` submits as a child of `parent`, which is that run or one below it (api::
  // parse_child_submission): it has what `asker` has, or less, and runs within that. Error(kPermission) for more. Any
  // thread.
  Submitted submit_child(const std::string& asker, const std::string& parent, const api::Submission& submission);
  // What `submit` would do: the same judgement, the same errors; no run, no content. Any thread.
  struct Plan {
    RunRecord run;             // no id, status or snapshot
    snapshot::Survey files;    // its warnings are in `warnings`
    StartCommand command;      // `candidates`: the image decides which of them goes before the arguments
    bool environment_present;  // nothing has to be pulled or built first
    std::string working_directory;
    std::vector<std::string> warnings;
  };
  Plan plan(const api::Submission& submission);
  // A new run of an old one's snapshot and definition, as `overrides` (api::parse_overrides) change them; the source
  // directory is not looked at. Any thread.
  Submitted rerun(const std::string& id, const api::Submission& overrides);
  // A snapshot that belongs to no run: durable on return. Any thread.
  snapshot::Snapshot create_snapshot(const std::string& source_directory, const Notify& notify = {});
  // What a snapshot of the directory would hold now, sorted; and why paths relative to it are in or out.
  std::vector<std::string> list_source(const std::string& source_directory) const;
  std::vector<snapshot::Explanation> explain_source(const std::string& source_directory,
                                                    const std::vector<std::string>& paths) const;
  // The snapshot behind a whole id, at least four of its leading digits, or the name of a run. Error(kNotFound),
  // Error(kConflict) naming the candidates.
  Hash resolve_snapshot(const std::string& name) const;
  // Real files of a snapshot in `directory`, absolute, which must not exist or be empty (a link to such a one will do).
  // There when this returns, and never half: restore.cpp. Error(kNotFound) without the snapshot or the parent,
  // kConflict if something is there, kPermission, kNoSpace. Any thread.
  struct Restored {
    std::int64_t files = 0;  // regular files and symbolic links
    std::int64_t bytes = 0;
  };
  Restored restore_snapshot(const Hash& snapshot, const std::string& directory) const;
  // Of a run. Error(kNotFound) if it has none.
  Hash snapshot_of(const std::string& id) const;
  // Which files differ between two runs' snapshots; each that has to be read is in the store. Any thread.
  std::vector<snapshot::FileChange> code_changes(const std::string& before, const std::string& after) const;
  // Asks a run, and with `recursive` its descendants, to stop; returns at once with its row. Error(kConflict) if all of
  // them have ended. Any thread.
  RunRecord cancel(const std::string& id, const store::History::Cancellation& cancellation);
  // Returns when the run is paused (or goes on), with its row. Error(kConflict) if it is not running (paused). Any
  // thread.
  RunRecord pause(const std::string& id, bool paused);
  // What `runner doctor` says of idle sleep and logout. Asks the message bus: up to some seconds. Any thread.
  std::vector<exec::Check> laptop_checks();
  // What `runner doctor` says of the two databases: whether they are written. Any thread.
  exec::Check database_check() const;
  // family.cpp: what may change of a run, its children, its end where nobody executes it for us. Whoever asks may; that
  // is the caller's to see to. Any thread. The name, tags and properties, all or nothing; also of a run that has ended.
  // Error(kConflict) for a property that is there with another value. Returns its row.
  RunRecord change(const std::string& id, const api::RunPatch& patch);
  // Children that run at once and that nothing is executed for, in order, all or none; those that are there already are
  // answered as they are. Error(kConflict) if the parent has ended.
  std::vector<RunRecord> add_children(const std::string& parent, const std::vector<api::ChildRequest>& children);
  // Of a child or an interactive run, once what it has logged and left is taken in. Error(kConflict) for a script's run
  // and for one that has ended otherwise. Returns its row.
  RunRecord end_run(const std::string& id, const api::EndRequest& end);
  // A file of this machine, as an artifact that the run did not have. Error(kConflict) if it has another file of that
  // name, or has ended; kInvalid for a name or a path that cannot be.
  Artifact add_file(const std::string& id, const api::UploadRequest& upload);
  // The run and all below it go from the history; of each the ledger says so. Error(kConflict) while one of them lives
  // or is waited for. Their ids, its own first.
  std::vector<std::string> delete_run(const std::string& id);

  // interactive.cpp: a run that lives as long as a process of the user's. `peer`: who asks; it is that process, or one
  // that it comes from.
  struct Interactive {
    RunRecord run;
    bool existed;                     // the same process has asked for this id before
    std::filesystem::path journal;    // for what it logs
    std::filesystem::path artifacts;  // for files that it hands over
    std::vector<std::string> warnings;
  };
  Interactive begin_interactive(const api::InteractiveRequest& wanted, pid_t peer, const Notify& notify = {});

  // A live run's door for `run exec` (runner/shim/exec_protocol.hpp). Error(kConflict) if it is not running.
  os::Fd connect_for_exec(const std::string& id);
  // What waits in the queue, in order, and why.
  struct QueueState {
    Scheduler::State state;
    std::vector<std::string> reasons;  // of each that waits, for people
  };
  QueueState queue() const;
  // While it is held nothing starts; kept over restarts. Any thread.
  void hold_queue(bool held);
  // Gives a waiting run another place, with the priority of its new neighbour; kept over restarts. Returns its row.
  // `other`: of kBefore. Error(kConflict) for a run that does not wait. Any thread.
  enum class QueueMove { kFirst, kLast, kBefore };
  RunRecord move(const std::string& id, QueueMove where, const std::string& other = {});
  // Its recorded reason; of a queued run without one, why it does not start.
  std::string waiting_reason(const RunRecord& run) const;
  // Cancels every unfinished run and waits for their ends, at most `limit`.
  void cancel_all(const std::string& reason, std::chrono::milliseconds limit);

  // Where the build that the run waits for writes its log; empty while there is none.
  std::filesystem::path live_build_log(const std::string& id) const;

  // Returns when what the journal of a live run holds by now is in the history (a run that does not live has none).
  // Error(kUnavailable) if that takes longer than some seconds: the next call goes on from there. On a full disk what
  // is missing comes with the run's end. Any thread.
  void take_in_journal(const std::string& id);

  // What the run has used so far, or did: oldest first, empty if it did not run for a second. Any thread.
  std::vector<shim::UsageSample> usage_of(const std::string& id) const;

  store::History& history() { return history_; }
  store::Environments& environments() { return environments_; }
  PreparedEnvironments& prepared() { return *prepared_; }
  const CuratedEnvironments& curated() const { return curated_; }
  store::ContentStore& content() { return content_; }
  snapshot::Checkouts& checkouts() { return checkouts_; }
  RunEvents& events() { return events_; }
  const exec::Sandbox& sandbox() const { return sandbox_; }
  const exec::EngineContainers& containers() const { return containers_; }
  const exec::GpuInventory& gpus() const { return gpus_; }
  const RunTokens& tokens() const { return tokens_; }
  const os::DataDirectory& data() const { return data_; }
  const Configuration& configuration() const { return configuration_; }

 private:
  // The environment is what stood in the way of a start.
  struct EnvironmentFailed {
    explicit EnvironmentFailed(Error why) : error(std::move(why)) {}
    Error error;
  };
  // The daemon ends: what is not collected yet stays where it is, for the next one.
  struct Stopping {};
  // queue.cpp
  static Resources shared_resources(const Configuration& configuration);
  Resources resources_of(const RunDefinition& definition) const;
  GpuWish gpus_wanted(const RunDefinition& definition) const;
  void enqueue(const RunRecord& run);
  void occupy(const RunRecord& run);
  void settle_dependents(const RunRecord& run);
  void resolve_dependencies(RunDefinition& definition) const;
  // limits.cpp
  void settle_limits(const std::vector<exec::UnenforcedLimit>& limits, Admission& admission) const;
  static RunDefinition enforced(RunDefinition definition);
  void settle_gpus(RunDefinition& definition) const;
  std::vector<exec::Gpu> gpus_of(const RunRecord& run) const;
  // submit_child.cpp
  void require_place_within(const std::string& asker, const std::string& parent) const;
  void refuse_what_its_script_can_move(const RunRecord& owner) const;
  void refuse_foreign_dependencies(const std::string& asker, const RunDefinition& definition) const;
  // submit.cpp
  snapshot::Options snapshot_options(const std::string& source_directory) const;
  // snapshots.cpp
  snapshot::Snapshot take_snapshot(const std::string& source_directory, const Notify& notify);
  void require_sandbox(Admission& admission) const;
  std::optional<Submitted> find_repeated(const RunRecord& run) const;
  void resolve(Admission& admission) const;
  Submitted accept(Admission admission, std::vector<std::string> warnings,
                   const std::optional<store::History::Asker>& asker = std::nullopt);
  // environments.cpp
  std::optional<EnvironmentChoice> find_registered(const std::string& name) const;
  static envs::Caller own_caller();
  envs::Interpreter interpreter_for(const RunDefinition& definition, const std::optional<std::string>& python,
                                    const envs::Caller& caller) const;
  EnvironmentRef resolve_interpreter(const std::optional<std::string>& python, Admission& admission) const;
  EnvironmentRef resolve_prepared(Admission& admission) const;
  void name_environment(Admission& admission, EnvironmentRef& environment) const;
  void take_build(EnvironmentRef& environment, const store::EnvironmentBuild& build) const;
  void keep_environment(const Admission& admission);
  void keep_caller(Admission& admission);
  std::string hint_of_lost_credentials(const RunRecord& run) const;
  void remember_caller(const std::string& id, const Admission& admission);
  envs::BuildSettings settings_of(const std::string& id) const;
  bool is_prepared(const RunRecord& run) const;
  void wait_for_environment(const RunRecord& run);
  void await_environment(const RunRecord& run);
  void await_build(const RunRecord& run, const envs::Specification& specification, const std::string& images);
  bool ensure_environment(RunRecord& run);
  void note_missing(const RunRecord& run);
  void add_environment_variables(RunRecord& run, const store::EnvironmentBuild& build) const;
  std::filesystem::path prefix_of(const RunRecord& run) const;
  std::vector<Artifact> keep_build_log(const BuildEnd& end);
  void environment_ended(const BuildEnd& end);
  void go_on_with(RunRecord& run, const store::EnvironmentBuild& build);
  void end_unprepared(const std::string& id, const Error& error, const std::vector<Artifact>& log);
  // rerun.cpp
  void require_whole(const RunRecord& run) const;
  EnvironmentRef environment_again(const RunRecord& original, Admission& admission,
                                   std::vector<std::string>& warnings) const;
  EnvironmentRef built_again(const EnvironmentRef& before, Admission& admission) const;
  // image_run.cpp
  engine::Engine require_engine(Admission& admission) const;
  EnvironmentRef resolve_image(Admission& admission, bool made_here) const;
  EnvironmentRef image_again(const RunRecord& original, Admission& admission) const;
  void await_image(const RunRecord& run);
  void fetch_image(const std::string& id, const std::stop_token& stop);
  void fetch_base_images(RunRecord& run, const std::stop_token& stop);
  void pull(engine::Engine& engine, const RunRecord& run, const std::string& source, const std::stop_token& stop);
  engine::Image pull_image(engine::Engine& engine, const RunRecord& run, const std::stop_token& stop);
  void remember_image(RunRecord& run, const engine::Image& image, const engine::EngineFacts& facts);
  bool prepare_container(RunRecord& run);
  void enter_prefix(const RunRecord& run, exec::EngineRun& wanted) const;
  exec::EngineRun engine_run(const RunRecord& run, engine::Engine& engine, const engine::Image& image,
                             std::vector<std::filesystem::path> layers);
  // start.cpp
  void start(const std::string& id);
  void start_or_throw(const std::string& id);
  void end_unstarted(const std::string& id, OutcomeKind kind, const Error& error);
  std::vector<std::filesystem::path> check_out(const RunRecord& run);
  bool takes_layers(const RunRecord& run) const;
  void check_out_ahead(const std::string& id);
  void look_ahead();
  void prepare_sandbox(const RunRecord& run);
  os::Fd secrets_for(const RunRecord& run);
  exec::SandboxRun sandbox_run(const RunRecord& run, const std::optional<envs::Interpreter>& interpreter,
                               std::vector<std::filesystem::path> layers);
  void launch(const RunRecord& run, const os::Fd& secrets);
  std::optional<std::int64_t> log_limit_of(const RunDefinition& definition) const;
  std::vector<std::string> visible_paths(const RunRecord& run, const envs::Interpreter& interpreter,
                                         const std::string& working_directory);
  // finish.cpp
  static std::optional<RunError> error_of(const Outcome& outcome);
  std::optional<shim::Claim> claim_of(const std::string& id) const;
  void finish(const std::string& id);
  void finish_once(const std::string& id);
  bool was_removed(const std::string& id) const;
  void finish_or_throw(const std::string& id);
  void end(const RunRecord& run, Outcome outcome, std::optional<RunError> error, std::vector<Artifact> artifacts,
           store::ContentStore::Hold hold = {});
  void leave(const RunRecord& run);
  void clear_away(const std::string& id);
  bool clear(const std::string& id);
  void end_cancelled(const RunRecord& run);
  Outcome outcome_of_cancelled(const RunRecord& run) const;
  void stop(const std::string& id, const std::string& reason, bool fails);
  void withdraw_cancelled(const std::string& id);
  std::vector<Artifact> collect_artifacts(const RunRecord& run, const shim::Ended& ended);
  void note_dropped_log(const std::string& id, const shim::Ended& ended);
  // journal.cpp
  enum class Intake { kQuick, kLive, kLast };  // metrics only; files, too; everything, for the run is over
  bool ingest_journal(const std::string& id, Intake intake);
  void journal_grew(const std::string& id);
  void take_in_files(const std::string& id);
  std::string why_not_added(const std::string& id, const std::string& target) const;
  collect::Bounds handed_over_by(const std::string& id) const;
  void take_files(const std::string& id, const shim::Claim& claim, std::span<const collect::JournalArtifact> files,
                  Intake intake);
  void take_files_at_once(const std::string& id, const collect::HandedOverFiles& directory,
                          std::span<const collect::JournalArtifact> files, Intake intake);
  void take_left_files(const std::string& id);
  void leave_out_handed_over(const std::string& id, collect::Collected& collected) const;
  void note_losses(const std::string& id, const collect::JournalLosses& losses);
  void note_drops(const std::string& id, const store::MetricDrops& drops);
  // finish.cpp
  void mark_started(const std::string& id);
  void record_interpreter(const std::string& id, const std::string& interpreter);
  // family.cpp
  void tell_ended(const std::vector<std::string>& ended, RunStatus of_parent);
  void end_asked(const RunRecord& run);
  void conclude(const RunRecord& run, const Outcome& outcome, const std::optional<RunError>& error);
  void refuse_without_script(const RunRecord& run, const char* what) const;
  // interactive.cpp
  os::ProcessIdentity interactive_process(const api::InteractiveRequest& wanted, pid_t peer) const;
  RunRecord interactive_record(const api::InteractiveRequest& wanted, const std::string& id) const;
  bool is_known(const std::string& id) const;
  Interactive interactive_again(const std::string& id, const os::ProcessIdentity& process);
  std::vector<Artifact> freeze_source(const api::InteractiveRequest& wanted, RunRecord& run,
                                      std::vector<std::string>& warnings, const Notify& notify);
  void make_interactive_directory(const std::string& id, const os::ProcessIdentity& process,
                                  const std::string& outputs) const;
  std::vector<Artifact> collect_own_outputs(const std::string& id);
  void conclude_interactive(const std::string& id, const Outcome& outcome, const std::optional<RunError>& error);
  void finish_interactive(const RunRecord& run);
  void recover_interactive(const RunRecord& run);
  // laptop_runs.cpp
  void start_laptop();
  void watch_laptop();
  void stop_laptop();
  void stay_awake(const std::string& id);
  LaptopSigns look_at_machine();
  void obey(const LaptopVerdict& verdict);
  std::optional<std::string> frozen_for(const std::string& id) const;
  std::uint64_t ask_for_pause(const std::string& id, bool paused, const std::string& reason);
  // attempts.cpp
  bool give_way(const std::string& id, const std::string& to);
  bool can_begin_again(const RunRecord& run) const;
  void queue_again(const RunRecord& run);
  bool was_queued_again(const std::string& id, const Error& error);
  bool starts_again_after_reboot(const RunRecord& run, shim::Ended& ended) const;
  bool begin_next_attempt(const RunRecord& run, const shim::Ended& ended);
  void cancel_submitted(const std::string& id);
  bool clear_for_next_attempt(const std::string& id);
  // recover.cpp
  void recover();
  void recover_run(const RunRecord& run);
  bool look_into_directories(std::vector<RunRecord>& unfinished, const store::History::Unreadable& note);
  void remove_orphans(const std::vector<RunRecord>& unfinished, const std::set<std::string>& owned);

  const os::DataDirectory data_;
  const Configuration configuration_;
  const RunTokens tokens_;
  const Resources machine_;  // what runs share
  const MachineFacts machine_facts_ = os::machine_facts();
  const exec::GpuInventory gpus_;
  const GpuSlots gpu_slots_;
  const Account account_ = own_account();
  store::ContentStore content_;
  snapshot::Checkouts checkouts_;
  store::History history_;
  mutable store::Environments environments_{history_};
  const CuratedEnvironments curated_{os::curated_environments_directory()};
  envs::InterpreterProbe probe_;
  exec::Sandbox sandbox_;
  exec::EngineContainers containers_;
  RunEvents events_;
  os::Guarded<std::map<std::string, int>>
      launches_;  // shims started per run by this daemon, for those that died unclaimed
  os::Guarded<std::map<std::string, bool>>
      finishing_;  // one worker at a time ends a run; true: it shall look once more
  struct Told {
    collect::JournalLosses losses;
    std::int64_t notice = 0;  // its number
    store::MetricDrops drops;
    std::int64_t drops_notice = 0;
  };
  os::Guarded<std::map<std::string, Told>> told_losses_;             // by run, of this attempt and this daemon
  Turns submit_turns_;                                               // one tree of a run at a time
  Turns journal_turns_;                                              // one reader of a run's journal at a time
  os::Guarded<std::map<std::string, collect::Bounds>> handed_over_;  // by whose journal, of this attempt and daemon
  Turns beginnings_;                                                 // of interactive runs: one for each id at a time
  std::stop_source stopping_;
  mutable os::Guarded<std::map<std::string, std::map<std::string, std::string>>>
      secrets_;  // values by run and name, until it has started: here and nowhere else
  os::Guarded<std::set<std::string>> looked_again_;    // runs whose container may have come late: the clearer's
  os::Guarded<std::set<std::string>> undurable_ends_;  // runs whose end has not reached the disk: tried again
  os::Guarded<int> moves_;                             // one at a time: each looks at its neighbours
  os::Guarded<int> pauses_;                            // the same
  os::Guarded<std::set<std::string>> let_be_;  // runs that the user let go on though the machine had frozen them
  os::Guarded<LaptopVerdict> last_verdict_;
  bool told_of_no_logind_ = false;  // the watch's thread
  MessageBus bus_;
  MachineSigns machine_signs_{MachineSigns::root_of_environment()};  // hot(): the watch's thread
  std::unique_ptr<KeepAwake> keep_awake_;
  std::unique_ptr<OnEnd> on_end_;
  os::Guarded<std::map<std::string, envs::BuildSettings>>
      build_settings_;                         // by run, until its environment is there: they may hold credentials
  os::Guarded<std::set<std::string>> missed_;  // runs whose environment was not there when they started
  std::unique_ptr<PreparedEnvironments> prepared_;
  std::unique_ptr<RunWatch> watch_;
  std::unique_ptr<Preparer> intake_;  // files that scripts hand over
  std::unique_ptr<Clearer> clearer_;  // of runs in images
  std::unique_ptr<Clearer> remover_;  // of the others
  std::unique_ptr<Clearer> again_;    // of runs that wait for their next attempt
  std::unique_ptr<Preparer> preparer_;
  std::unique_ptr<EnvironmentBuilds> builds_;
  std::unique_ptr<Preparer> ahead_;       // checkouts of runs that wait for something else
  std::unique_ptr<Scheduler> scheduler_;  // its workers use everything above
  std::unique_ptr<LaptopWatch> laptop_;   // last: it uses everything above
};

}  // namespace runner::pipeline
