// A run of low priority that gives way to one of normal priority, or one (`--requeue`) whose machine was restarted:
// this attempt ends, what it left is kept, and the run waits for its next attempt, which begins anew from the snapshot.
// The row first, then the directory goes aside under another name, and only then the run is queued: after a crash a
// claim of an earlier attempt than the row's says that the directory is still there.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "runner/collect/outputs.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/secrets.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {

// False if it could not be told.
bool Pipeline::give_way(const std::string& id, const std::string& to) {
  try {
    const RunRecord run = history_.get(id);
    // What has been cancelled ends all the same, and its reason stays.
    if (is_final(run.status) || run.status == RunStatus::kCancelRequested) return true;
    shim::write_cancel(data_.run(id), {.reason = "gave way to " + to, .give_way = true});
    const bool told = watch_->signal_shim(id, SIGUSR1);
    history_.set_status(id, run.status, "gives way to " + to);
    events_.notify(id);
    return told;
  } catch (const Error& error) {
    spdlog::warn("run {}: does not give way to {} yet: {}", id, to, error.message());
    return false;
  }
}

// Whether the run could begin anew: its secrets are gone with the daemon that had them, unless the file has them.
bool Pipeline::can_begin_again(const RunRecord& run) const {
  if (run.definition.secrets.empty()) return true;
  if (secrets_.with([&](const auto& secrets) { return secrets.contains(run.id); })) return true;
  try {
    find_secrets(run.definition.secrets, {}, default_secrets_file());
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Only where that was asked for: a script need not bear being run twice.
bool Pipeline::starts_again_after_reboot(const RunRecord& run, shim::Ended& ended) const {
  if (ended.outcome.kind != OutcomeKind::kHostRebooted || !run.definition.requeue) return false;
  if (run.status == RunStatus::kCancelRequested) return false;
  if (can_begin_again(run)) return true;
  ended.outcome.message += "; it cannot start again, for its secrets are not in the secrets file";
  return false;
}

// False if it is to end instead: it was cancelled meanwhile.
bool Pipeline::begin_next_attempt(const RunRecord& run, const shim::Ended& ended) {
  const std::string prefix = "attempts/" + std::to_string(run.attempt) + "/";
  // Nobody takes more of this attempt in once the row is at the next one.
  const auto turn = journal_turns_.take(run.id);
  ingest_journal(run.id, Intake::kLast);
  take_left_files(run.id);
  auto hold = content_.hold();  // until the rows name the artifacts
  auto artifacts = collect_artifacts(run, ended);
  // The next attempt logs its metrics from the first step again: these are kept as they were written.
  const auto batch = content_.begin();
  auto journal = collect::gather_one(data_.run(run.id).journal(), "metrics.jsonseq", *batch, stopping_.get_token());
  if (journal.stopped) throw Stopping{};
  batch->commit();
  std::move(journal.artifacts.begin(), journal.artifacts.end(), std::back_inserter(artifacts));
  for (const std::string& notice : journal.notices) history_.add_notice(run.id, prefix + notice);
  for (Artifact& artifact : artifacts) artifact.name.insert(0, prefix);
  note_dropped_log(run.id, ended);
  const UtcTime ended_at = std::max(ended.time, run.started.value_or(UtcTime{}));  // the clock may have been set back
  const auto over = history_.begin_next_attempt(run.id, run.attempt, ended_at, ended.outcome.message, artifacts);
  if (over.empty()) return false;
  tell_ended(over, RunStatus::kCanceled);
  hold.reset();
  watch_->remove(run.id);
  keep_awake_->leave(run.id);
  launches_.with([&](auto& launches) { launches.erase(run.id); });
  told_losses_.with([&](auto& all) { all.erase(run.id); });
  handed_over_.with([&](auto& all) { all.erase(run.id); });
  events_.notify(run.id);
  again_->enqueue(run.id);
  return true;
}

// What the last attempt's script has submitted is the next one's to submit again. While that one's directory is there,
// so that the next daemon does it where this one could not.
void Pipeline::cancel_submitted(const std::string& id) {
  constexpr std::int64_t kPage = 500;
  store::RunFilter below{.parent = id, .recursive = true, .limit = kPage};
  do {
    const store::RunPage page = history_.page(below);
    for (const RunRecord& run : page.runs) {
      if (run.definition.within != id || is_final(run.status)) continue;
      try {
        cancel(run.id, {.reason = "its parent was started again", .recursive = true});
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kConflict) spdlog::warn("run {}: not cancelled: {}", run.id, error.message());
      }
    }
    below.before = page.next;
  } while (below.before);
}

// A thread of its own. True when there is nothing more to do; may be asked twice.
bool Pipeline::clear_for_next_attempt(const std::string& id) {
  try {
    const RunRecord run = history_.get(id);
    if (is_final(run.status)) return true;
    history_.make_durable();  // that there is a next attempt, before what the last one left goes out of the way
    const os::RunDirectory directory = data_.run(id);
    const auto claim = shim::read_claim(directory);
    if (claim && claim->attempt == run.attempt) return true;  // it lives already
    if (run.status == RunStatus::kCancelRequested) {
      end_cancelled(run);  // with the directory
      return true;
    }
    if (claim) {
      cancel_submitted(id);
      sandbox_.remove_remains(id);
      static_cast<void>(containers_.remove_remains(id));  // its container has the run's name
      checkouts_.release(id);
      const auto aside = data_.run(id + "." + std::to_string(claim->attempt)).root();
      if (::rename(directory.root().c_str(), aside.c_str()) != 0)
        throw errno_error(errno, "rename to " + aside.string());
      queue_again(run);
      os::remove_tree(aside);
    } else {
      queue_again(run);
    }
    return true;
  } catch (const Error& error) {
    spdlog::warn("run {}: its last attempt is not cleared away yet: {}", id, error.message());
    return was_queued_again(id, error);
  }
}

void Pipeline::queue_again(const RunRecord& run) {
  history_.set_status(run.id, RunStatus::kQueued, "", std::nullopt, run.attempt);
  enqueue(run);
  withdraw_cancelled(run.id);
  look_ahead();
}

// After an error: what could not be removed stays until the next start, once it is out of the way.
bool Pipeline::was_queued_again(const std::string& id, const Error& error) {
  try {
    const RunRecord run = history_.get(id);
    const auto claim = shim::read_claim(data_.run(id));
    if (is_final(run.status) || (claim && claim->attempt == run.attempt)) return true;
    if (!claim) {
      enqueue(run);  // once more does no harm
      return true;
    }
    history_.set_status(id, RunStatus::kQueued, "waits until its last attempt is cleared away: " + error.message(),
                        std::nullopt, run.attempt);
  } catch (const Error&) {  // the same trouble
  }
  return false;
}

}  // namespace runner::pipeline
