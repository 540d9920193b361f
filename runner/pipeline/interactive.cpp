// Runs that live in a process of the user's: a notebook, a Python prompt. Nothing is started and nothing isolated; what
// they have of a script's run is a journal, files that are handed over beside it, a snapshot and an end. That comes
// when it is told (…/end), else with the process: a claim in the run's directory names that, also to the next daemon.
//
// The directory first, then the row: a directory without a row is an orphan and goes, a row without a directory would
// be a run that nobody can log to.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iterator>
#include <utility>

#include "git/git_state.hpp"
#include "runner/collect/outputs.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process_tree.hpp"
#include "runner/pipeline/admission.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/source_reading.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {
namespace {

constexpr const char* kLostMessage = "its process ended, and nobody had said how the run ended";

bool belongs_to_us(pid_t pid) {
  struct ::stat info {};
  return ::stat(("/proc/" + std::to_string(pid)).c_str(), &info) == 0 && info.st_uid == ::geteuid();
}

// `process`, or one that it comes from.
bool descends_from(pid_t process, pid_t ancestor) {
  constexpr int kDeepest = 64;
  for (int depth = 0; depth < kDeepest && process > 0; ++depth) {
    if (process == ancestor) return true;
    const auto facts = os::read_process(process);
    process = facts ? facts->parent : 0;
  }
  return false;
}

}  // namespace

// Whether it is there, ours, and that of who asks.
os::ProcessIdentity Pipeline::interactive_process(const api::InteractiveRequest& wanted, pid_t peer) const {
  const std::string name = "process " + std::to_string(wanted.pid);
  const auto process = os::identify(wanted.pid);
  if (!process || process->start_ticks != wanted.start_ticks)
    throw Error(
        ErrorCode::kInvalid, name + ": there is none that started at tick " + std::to_string(wanted.start_ticks),
        "pid and startTicks (field 22 of /proc/PID/stat) are those that this machine knows: in a container of its "
        "own a process has others");
  if (!belongs_to_us(wanted.pid)) throw Error(ErrorCode::kPermission, name + ": is another user's");
  if (!descends_from(wanted.pid, peer))
    throw Error(ErrorCode::kPermission, name + ": did not ask for the run, nor did what started it",
                "the process itself asks, or one that it comes from");
  return *process;
}

RunRecord Pipeline::interactive_record(const api::InteractiveRequest& wanted, const std::string& id) const {
  check_experiment(wanted.experiment);
  RunRecord run;
  run.id = id;
  run.kind = RunKind::kInteractive;
  run.experiment = wanted.experiment;
  run.name = wanted.name.value_or("");
  if (run.name.empty()) run.name = id;
  run.status = RunStatus::kRunning;
  run.tags = wanted.tags;
  run.properties = wanted.properties;
  run.environment.kind = "none";
  run.definition.isolation = Isolation::kNone;
  run.definition.machine = machine_facts_;
  if (wanted.source_directory)
    run.definition.source_directory =
        existing_source(*wanted.source_directory, wanted.source_directory_explicit).string();
  return run;
}

bool Pipeline::is_known(const std::string& id) const {
  try {
    history_.get(id);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return false;
  }
}

// The run of this id, for who asks once more.
Pipeline::Interactive Pipeline::interactive_again(const std::string& id, const os::ProcessIdentity& process) {
  const RunRecord run = history_.get(id);
  const auto claim = claim_of(id);
  if (run.kind != RunKind::kInteractive || is_final(run.status) || !claim || claim->shim != process)
    throw Error(ErrorCode::kConflict, "run id " + id + " is taken",
                is_final(run.status) ? "the run has ended; begin another" : "choose another uuid4");
  history_.make_durable();
  const os::RunDirectory directory = data_.run(id);
  return {
      .run = run, .existed = true, .journal = directory.journal(), .artifacts = directory.artifacts(), .warnings = {}};
}

// The snapshot and the uncommitted change, as of a submission.
std::vector<Artifact> Pipeline::freeze_source(const api::InteractiveRequest& wanted, RunRecord& run,
                                              std::vector<std::string>& warnings, const Notify& notify) {
  if (!wanted.source_directory) return {};
  SourceReading reading(run.definition.source_directory);
  auto frozen = take_snapshot(run.definition.source_directory, notify);
  run.snapshot = frozen.id;
  run.properties["ContentSnapshotId"] = frozen.id.hex();
  std::move(frozen.warnings.begin(), frozen.warnings.end(), std::back_inserter(warnings));
  const auto source = reading.finish(warnings);
  if (!source) return {};
  run.git = source->state;
  for (auto& [key, value] : git::properties_of(*run.git)) run.properties.insert_or_assign(key, value);
  return store_change(*source, content_);
}

void Pipeline::make_interactive_directory(const std::string& id, const os::ProcessIdentity& process,
                                          const std::string& outputs) const {
  const os::RunDirectory directory = data_.run(id);
  os::remove_tree(directory.root());  // of a request that got as far as this and no further
  os::make_directories(directory.artifacts());
  os::open_file(directory.journal(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
  shim::write_claim_once(directory, {.shim = process, .attempt = 1, .outputs = outputs});
}

Pipeline::Interactive Pipeline::begin_interactive(const api::InteractiveRequest& wanted, pid_t peer,
                                                  const Notify& notify) {
  const os::ProcessIdentity process = interactive_process(wanted, peer);
  const std::string id = wanted.id.value_or(api::new_uuid4());
  const auto turn = beginnings_.take(id);
  if (is_known(id)) return interactive_again(id, process);
  // Its directory may be on its way out still.
  if (history_.removed_at(id))
    throw Error(ErrorCode::kConflict, "run " + id + " was deleted", "choose another id, or leave it out");
  RunRecord run = interactive_record(wanted, id);
  history_.require_room();

  const auto hold = content_.hold();  // until the row below names it
  std::vector<std::string> warnings;
  const auto artifacts = freeze_source(wanted, run, warnings, notify);
  make_interactive_directory(id, process, wanted.outputs.value_or(""));
  run.created = utc_now();
  run.started = run.created;
  const os::RunDirectory directory = data_.run(id);
  try {
    run = history_.add_run(run, artifacts).run;
  } catch (const Error&) {
    if (!is_known(id)) os::remove_tree(directory.root());
    throw;
  }
  for (const std::string& warning : warnings) history_.add_notice(id, warning);
  recover_interactive(run);
  return {.run = std::move(run),
          .existed = false,
          .journal = directory.journal(),
          .artifacts = directory.artifacts(),
          .warnings = std::move(warnings)};
}

// Listens to the journal and to the process: from the beginning on, and after a restart of the daemon.
void Pipeline::recover_interactive(const RunRecord& run) {
  const auto claim = claim_of(run.id);
  if (claim) watch_->add(run.id, data_.run(run.id));
  auto process = claim ? os::open_process(claim->shim) : std::nullopt;
  if (!process || run.status == RunStatus::kCancelRequested)
    return scheduler_->post([this, id = run.id] { finish(id); });
  watch_->set_shim(run.id, std::move(*process));
}

// A worker: its process has gone, or it was to be cancelled when the last daemon died.
void Pipeline::finish_interactive(const RunRecord& run) {
  if (run.status == RunStatus::kCancelRequested) return end_asked(run);
  const auto claim = claim_of(run.id);
  if (claim) {
    if (auto process = os::open_process(claim->shim)) return watch_->set_shim(run.id, std::move(*process));
  }
  const bool rebooted = claim && claim->shim.boot_id != os::boot_id();
  const Outcome outcome{.kind = rebooted ? OutcomeKind::kHostRebooted : OutcomeKind::kLost,
                        .message = rebooted ? "the machine was restarted while the run was live" : kLostMessage};
  conclude_interactive(run.id, outcome, error_of(outcome));
}

void Pipeline::conclude_interactive(const std::string& id, const Outcome& outcome,
                                    const std::optional<RunError>& error) {
  try {
    const auto turn = journal_turns_.take(id);
    if (is_final(history_.get(id).status)) return;
    ingest_journal(id, Intake::kLast);
    take_left_files(id);
    auto hold = content_.hold();  // until the row names the artifacts
    auto artifacts = collect_own_outputs(id);
    end(history_.get(id), outcome, error, std::move(artifacts), std::move(hold));
  } catch (const Stopping&) {
    throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again: the run goes on");
  }
}

// Its outputs are the user's: read, and left as they are.
std::vector<Artifact> Pipeline::collect_own_outputs(const std::string& id) {
  const auto claim = claim_of(id);
  if (!claim || claim->outputs.empty()) return {};
  const auto batch = content_.begin_last();
  auto collected = collect::gather_below(claim->outputs, "outputs", *batch, stopping_.get_token());
  if (collected.stopped) throw Stopping{};
  leave_out_handed_over(id, collected);
  batch->commit();
  for (const std::string& notice : collected.notices) history_.add_notice(id, notice);
  return std::move(collected.artifacts);
}

}  // namespace runner::pipeline
