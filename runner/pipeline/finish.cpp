// The container is empty: outputs, log and metrics → the row's end → the run directory goes.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "runner/collect/outputs.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/hidden_path.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/post_mortem.hpp"
#include "runner/shim/records.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

constexpr int kMaxLaunches = 3;  // of shims that die before they claim the run
constexpr auto kRetryPause = std::chrono::seconds{10};
constexpr std::string_view kLogName = "user_logs/std_log.txt";

std::string end_of_file(const std::filesystem::path& file, std::int64_t bytes) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  const std::int64_t size = stream ? static_cast<std::int64_t>(stream.tellg()) : 0;
  std::string text(static_cast<std::size_t>(std::min(size, bytes)), '\0');
  stream.seekg(std::max<std::int64_t>(0, size - bytes));
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  return text;
}

PostMortem post_mortem_of(const RunRecord& run, const os::RunDirectory& directory, const shim::Ended& ended) {
  std::string command = run.definition.script;
  for (const auto* words : {&run.definition.command, &run.definition.arguments})
    for (const std::string& word : *words) command += (command.empty() ? "" : " ") + word;
  PostMortem facts{.run = run.id,
                   .command = std::move(command),
                   .started = run.started,
                   .ended = ended.time,
                   .outcome = ended.outcome,
                   .look = shim::read_last_look(directory),
                   .usage = shim::read_usage_file(directory.usage()),
                   .log_end = end_of_file(directory.log(), kLogEndBytes)};
  facts.whole_log = static_cast<std::int64_t>(facts.log_end.size()) < kLogEndBytes;
  return facts;
}

shim::Ended lost(const shim::Claim& claim) {
  const bool rebooted = claim.shim.boot_id != os::boot_id();
  return shim::Ended{.time = utc_now(),
                     .outcome = {.kind = rebooted ? OutcomeKind::kHostRebooted : OutcomeKind::kLost,
                                 .message = rebooted ? "the machine was restarted while the run was live"
                                                     : "the run's supervisor was killed"}};
}

}  // namespace

// Azure's error object for an ending that is not a success.
std::optional<RunError> Pipeline::error_of(const Outcome& outcome) {
  switch (outcome.kind) {
    case OutcomeKind::kExited:
      if (outcome.exit_code == 0) return std::nullopt;
      return RunError{.message = "the script exited with code " + std::to_string(outcome.exit_code.value_or(-1))};
    case OutcomeKind::kSignaled:
      return RunError{.message = "the script was ended by signal " + std::to_string(outcome.signal.value_or(0)) + " (" +
                                 ::strsignal(outcome.signal.value_or(0)) + ")",
                      .hint = {}};
    case OutcomeKind::kOutOfMemory:
      return RunError{.message = outcome.message, .hint = "give the run more with --memory"};
    case OutcomeKind::kTimedOut:
    case OutcomeKind::kCanceled:
      return std::nullopt;
    default:
      return RunError{.code = "SystemError", .message = outcome.message};
  }
}

void Pipeline::mark_started(const std::string& id) {
  try {
    const auto claim = shim::read_claim(data_.run(id));
    const auto started = shim::read_started(data_.run(id));
    if (claim && started) {
      const RunRecord run = history_.get(id);
      const RunStatus status = started->paused ? RunStatus::kPaused : RunStatus::kRunning;
      std::string reason = run.status == status ? run.status_reason : "";
      if (started->paused) reason = frozen_for(id).value_or("");
      const bool present = run.attempt == claim->attempt;
      if (present) stay_awake(id);  // before the row says that it is live: whoever ends it comes after that
      const bool live = history_.set_status(id, status, reason, started->time, claim->attempt);
      if (present && (!live || started->paused)) keep_awake_->leave(id);
      if (!started->interpreter.empty()) record_interpreter(id, started->interpreter);
      if (present && can_begin_again(run)) scheduler_->started(id, run.queue, run.definition.grace);
      // One that may have to start again needs them again.
      if (run.queue.priority >= kNormalPriority) secrets_.with([&](auto& secrets) { secrets.erase(id); });
    }
  } catch (const Error& error) {
    spdlog::warn("run {}: start not recorded: {}", id, error.message());
  }
  events_.notify(id);
}

// Which of an image's candidates it was is known only now.
void Pipeline::record_interpreter(const std::string& id, const std::string& interpreter) {
  RunRecord run = history_.get(id);
  if (is_final(run.status) || run.environment.interpreter == interpreter) return;
  run.environment.interpreter = interpreter;
  history_.set_environment(id, run.environment);
}

// Nothing, too, if it cannot be read: shim::is_claimed tells the two apart.
std::optional<shim::Claim> Pipeline::claim_of(const std::string& id) const {
  try {
    return shim::read_claim(data_.run(id));
  } catch (const Error& error) {
    spdlog::warn("run {}: {}", id, error.message());
    return std::nullopt;
  }
}

void Pipeline::finish(const std::string& id) {
  // A word of the end that comes while a worker is at it (an adopted shim that dies at that moment) must not be lost.
  const bool first = finishing_.with([&](auto& runs) {
    const auto [at, inserted] = runs.try_emplace(id, false);
    if (!inserted) at->second = true;
    return inserted;
  });
  if (!first) return;
  do finish_once(id);
  while (finishing_.with([&](auto& runs) {
    const auto at = runs.find(id);
    const bool again = std::exchange(at->second, false);
    if (!again) runs.erase(at);
    return again;
  }));
}

void Pipeline::finish_once(const std::string& id) {
  try {
    finish_or_throw(id);
  } catch (const Stopping&) {
    spdlog::info("run {}: the next daemon collects it", id);
  } catch (const std::exception& error) {
    if (was_removed(id)) return watch_->remove(id);  // meanwhile
    // Disk full, most likely. Everything is still in the run directory: wait for better times.
    spdlog::error("run {}: not collected yet: {}", id, error.what());
    try {
      history_.set_status(id, RunStatus::kFinalizing, std::string("waiting to store the outputs: ") + error.what());
    } catch (const Error&) {  // the same trouble
    }
    watch_->retry_ended(id, kRetryPause);
  }
}

// From the history. A history that cannot be read does not say so.
bool Pipeline::was_removed(const std::string& id) const {
  try {
    return history_.removed_at(id).has_value();
  } catch (const Error&) {
    return false;
  }
}

void Pipeline::finish_or_throw(const std::string& id) {
  RunRecord run = history_.get(id);
  if (is_final(run.status)) {
    if (!undurable_ends_.with([&](const auto& runs) { return runs.contains(id); })) return;
    history_.make_durable();
    undurable_ends_.with([&](auto& runs) { runs.erase(id); });
    return leave(run);
  }
  if (run.kind == RunKind::kInteractive) return finish_interactive(run);
  const os::RunDirectory directory = data_.run(id);
  const auto claim = claim_of(id);
  if (claim && claim->attempt < run.attempt) return again_->enqueue(id);  // a late word of the last attempt
  auto ended = shim::read_ended(directory);
  if (!ended) {
    if (claim) {
      if (auto alive = os::open_process(claim->shim)) {
        // A shim of an earlier daemon won the claim while ours came too late: the run is its.
        occupy(run);
        watch_->set_shim(id, std::move(*alive));
        return;
      }
      ended = shim::read_ended(directory);  // it may have ended in between
      if (!ended) ended = lost(*claim);
    } else if (shim::is_claimed(directory)) {
      ended = shim::Ended{.time = utc_now(),
                          .outcome = {.kind = OutcomeKind::kLost,
                                      .message = "claim.json, which says who supervised it, cannot be read"}};
    } else if (run.status == RunStatus::kCancelRequested) {
      ended = shim::Ended{.time = utc_now(), .outcome = outcome_of_cancelled(run)};
    } else if (launches_.with([&](auto& table) { return table[id]; }) < kMaxLaunches) {
      // The shim died before it claimed the run: nothing was started, so another may.
      watch_->remove(id);
      keep_awake_->leave(id);
      enqueue(run);
      return;
    } else {
      ended = shim::Ended{
          .time = utc_now(),
          .outcome = {.kind = OutcomeKind::kStartFailed, .message = "the run's supervisor could not be started"}};
    }
  }
  sandbox_.remove_remains(id);
  const auto started = run.started ? std::nullopt : shim::read_started(directory);
  if (ended->gave_way || starts_again_after_reboot(run, *ended)) {
    if (started) history_.set_status(id, RunStatus::kRunning, "", started->time);
    if (begin_next_attempt(run, *ended)) return;
    run = history_.get(id);  // cancelled meanwhile
    ended->outcome.message = run.status_reason;
    ended->outcome.kind = outcome_of_cancelled(run).kind;
  }
  history_.set_status(id, RunStatus::kFinalizing, "", started ? std::optional(started->time) : std::nullopt);
  {
    const auto turn = journal_turns_.take(id);
    ingest_journal(id, Intake::kLast);
    take_left_files(id);
  }
  auto hold = content_.hold();  // until the row names the artifacts
  if (ended->outcome.kind == OutcomeKind::kLost)
    ended->outcome.usage = shim::usage_of(shim::read_usage_file(directory.usage()));
  auto artifacts = collect_artifacts(history_.get(id), *ended);

  note_dropped_log(id, *ended);

  auto error = error_of(ended->outcome);
  // What a script has submitted it reads the end of: whether a path exists is not for it to know.
  if (error && ended->outcome.kind == OutcomeKind::kExited && run.definition.within.empty()) {
    const std::string log_end = end_of_file(directory.log(), 8192);
    const auto hidden =
        hidden_path_in(log_end, [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; });
    if (hidden)
      error->hint = "the path exists on this machine but is not visible in the run: --mount " + *hidden + ":" + *hidden;
  }
  end(history_.get(id), ended->outcome, error, std::move(artifacts), std::move(hold));
}

void Pipeline::note_dropped_log(const std::string& id, const shim::Ended& ended) {
  const std::int64_t over = ended.log_bytes_over_limit;
  if (over > 0)
    history_.add_notice(id, std::string(kLogName) + ": the last " + format_size(over) + " (" + std::to_string(over) +
                                " bytes) were not kept: the log reached its limit (--max-log-size, or max_log_size in "
                                "config.toml)");
}

std::vector<Artifact> Pipeline::collect_artifacts(const RunRecord& run, const shim::Ended& ended) {
  const os::RunDirectory directory = data_.run(run.id);
  const auto batch = content_.begin_last();
  const bool copied = ::access(directory.copy().c_str(), F_OK) == 0;
  auto collected = collect::gather(copied ? directory.copy() : directory.upper(), *batch, stopping_.get_token());
  if (collected.stopped) throw Stopping{};
  // In a copy everything is there: what the run did not change is no output of it.
  if (copied)
    std::erase_if(collected.artifacts, [&](const Artifact& artifact) {
      const auto given = snapshot::find_entry(content_, *run.snapshot, artifact.name);
      return given && given->type != snapshot::EntryType::kDirectory && given->content == artifact.sha256;
    });
  leave_out_handed_over(run.id, collected);
  if (auto log = collect::gather_file(directory.log(), std::string(kLogName), *batch, stopping_.get_token()))
    collected.artifacts.push_back(std::move(*log));
  if (auto usage = collect::gather_file(directory.usage(), std::string(kUsageName), *batch))
    collected.artifacts.push_back(std::move(*usage));
  if (wants_post_mortem(ended.outcome.kind)) {
    const std::string page = to_text(post_mortem_of(run, directory, ended));
    collected.artifacts.push_back({.name = std::string(kPostMortemName),
                                   .bytes = static_cast<std::int64_t>(page.size()),
                                   .sha256 = batch->put(std::as_bytes(std::span(page)))});
  }
  if (stopping_.stop_requested()) throw Stopping{};  // the log may be half
  batch->commit();
  for (const std::string& notice : collected.notices) history_.add_notice(run.id, notice);
  return std::move(collected.artifacts);
}

void Pipeline::end(const RunRecord& run, Outcome outcome, std::optional<RunError> error,
                   std::vector<Artifact> artifacts, store::ContentStore::Hold hold) {
  const auto reason = outcome.message.empty() && error ? error->message : outcome.message;
  const UtcTime ended_at = std::max(utc_now(), run.started.value_or(UtcTime{}));  // the clock may have been set back
  if (run.kind != RunKind::kChild) on_end_->expect(run.id);
  try {
    tell_ended(history_.finish(run.id, final_status_of(outcome), reason, outcome, error, ended_at, artifacts),
               final_status_of(outcome));
  } catch (const Error& failure) {
    if (!is_final(history_.get(run.id).status)) throw;
    // Its directory is all there is after a power cut: it stays until the row is on the disk.
    spdlog::error("run {}: its end is written, and not on the disk yet: {}", run.id, failure.message());
    undurable_ends_.with([&](auto& runs) { runs.insert(run.id); });
    events_.notify(run.id);
    return watch_->retry_ended(run.id, kRetryPause);
  }
  hold.reset();  // what follows may take its time
  RunRecord ended = run;
  ended.status = final_status_of(outcome);
  leave(ended);
}

// Its end is on the disk.
void Pipeline::leave(const RunRecord& run) {
  if (run.kind != RunKind::kChild) on_end_->ended(run.id);
  events_.notify(run.id);
  if (run.kind == RunKind::kChild) return settle_dependents(run);  // nothing else is there of it
  watch_->remove(run.id);
  keep_awake_->leave(run.id);
  launches_.with([&](auto& launches) { launches.erase(run.id); });
  told_losses_.with([&](auto& all) { all.erase(run.id); });
  handed_over_.with([&](auto& all) { all.erase(run.id); });
  secrets_.with([&](auto& secrets) { secrets.erase(run.id); });
  build_settings_.with([&](auto& all) { all.erase(run.id); });
  missed_.with([&](auto& runs) { runs.erase(run.id); });
  prepared_->release(run.id);
  clear_away(run.id);
  settle_dependents(run);
}

// After the row: a crash in between leaves a directory that the next start clears away. On threads of their own: a
// script can leave what takes minutes to remove, an Engine may be away, and neither is to hold up the other or the
// queue.
void Pipeline::clear_away(const std::string& id) {
  const bool in_image = ::access(data_.run(id).container().c_str(), F_OK) == 0;
  (in_image ? clearer_ : remover_)->enqueue(id);
}

// What fails is tried again: a cancel that comes too late may leave its word in a directory that is just being removed.
// The container goes first, for container.json says where it is.
bool Pipeline::clear(const std::string& id) {
  try {
    if (!containers_.remove_remains(id) && looked_again_.with([&](auto& runs) { return runs.insert(id).second; }))
      return false;
    looked_again_.with([&](auto& runs) { runs.erase(id); });
    os::remove_tree(data_.run(id).root());
    checkouts_.release(id);
    return true;
  } catch (const std::exception& trouble) {
    spdlog::warn("run {}: not cleared away yet: {}", id, trouble.what());
    return false;
  }
}

}  // namespace runner::pipeline
