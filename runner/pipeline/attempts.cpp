// A run of low priority that gives way to one of normal priority: this attempt ends, what it left is kept, and the run
// waits for its next attempt, which begins anew from the snapshot. The row first: after a crash a claim of an earlier
// attempt than the row's says that the directory has still to be cleared.
#include <signal.h>
#include <spdlog/spdlog.h>

#include "runner/collect/outputs.hpp"
#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {

void Pipeline::give_way(const std::string& id, const std::string& to) {
  try {
    const RunRecord run = history_.get(id);
    // What has been cancelled ends all the same, and its reason stays.
    if (is_final(run.status) || run.status == RunStatus::kCancelRequested) return;
    shim::write_cancel(data_.run(id), {.reason = "gave way to " + to, .give_way = true});
    history_.set_status(id, run.status, "gives way to " + to);
    watch_->signal_shim(id, SIGUSR1);
    events_.notify(id);
  } catch (const Error& error) {
    spdlog::warn("run {}: does not give way to {}: {}", id, to, error.message());
  }
}

// False if it is to end instead: it was cancelled meanwhile.
bool Pipeline::begin_next_attempt(const RunRecord& run, const shim::Ended& ended) {
  const std::string prefix = "attempts/" + std::to_string(run.attempt) + "/";
  auto hold = content_.hold();  // until the rows name the artifacts
  auto artifacts = collect_artifacts(run, ended);
  // The next attempt logs its metrics from the first step again: these are kept as they were written.
  const auto batch = content_.begin();
  if (auto journal = collect::gather_file(data_.run(run.id).journal(), "metrics.jsonseq", *batch))
    artifacts.push_back(std::move(*journal));
  batch->commit();
  for (Artifact& artifact : artifacts) artifact.name.insert(0, prefix);
  if (!history_.begin_next_attempt(run.id, run.attempt, ended.time, ended.outcome.message, artifacts)) return false;
  hold.reset();
  note_dropped_log(run.id, ended);
  watch_->remove(run.id);
  keep_awake_->leave(run.id);
  launches_.with([&](auto& launches) { launches.erase(run.id); });
  events_.notify(run.id);
  again_->enqueue(run.id);
  return true;
}

// The thread of its own: what the last attempt has left here goes before the next one may come.
bool Pipeline::clear_for_next_attempt(const std::string& id) {
  if (!clear_container(id)) return false;
  try {
    const RunRecord run = history_.get(id);
    if (run.status == RunStatus::kCancelRequested) {
      end_cancelled(run);
      return true;
    }
    if (is_final(run.status)) return true;
    enqueue(run);
    withdraw_cancelled(id);
    look_ahead();
    return true;
  } catch (const Error& error) {
    spdlog::error("run {}: not queued again yet: {}", id, error.message());
    return false;
  }
}

}  // namespace runner::pipeline
