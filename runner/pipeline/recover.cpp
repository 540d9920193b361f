// After a crash or a clean stop, the same code: every unfinished row is queued again, adopted or ended, and what nobody
// owns is removed.
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {
namespace {

// A trial container outlives its killed daemon by some ten milliseconds and then cleans up after itself.
bool is_over(const os::RunDirectory& trial) {
  constexpr int kTrialMillis = 2000;
  const auto claim = shim::read_claim(trial);
  const auto shim = claim ? os::open_process(claim->shim) : std::nullopt;
  if (!shim) return true;
  pollfd ended{shim->get(), POLLIN, 0};
  return ::poll(&ended, 1, kTrialMillis) > 0;
}

}  // namespace

void Pipeline::recover() {
  std::vector<RunRecord> unfinished;
  std::set<std::string> owned;  // by the unfinished, readable or not
  const auto note = [&](const std::string& id, const std::string& why) {
    spdlog::error("run {}: not recovered: {}", id, why);
    owned.insert(id);
  };
  try {
    unfinished = history_.unfinished(note);
  } catch (const Error& error) {
    // What lives goes on, what is queued waits, nothing is removed or evicted: for a daemon that can read the history
    // again.
    if (!history_.damage()) throw;
    spdlog::error("{}: no run is started or ended", error.message());
    return;
  }
  const bool sure = look_into_directories(unfinished, note);
  for (const RunRecord& run : unfinished) owned.insert(run.id);
  // First: what is queued below makes temporary files of its own at once.
  if (sure) remove_orphans(unfinished, owned);
  const auto lives = [this](const RunRecord& run) {
    const auto claim = claim_of(run.id);
    return claim && claim->attempt == run.attempt;
  };
  auto ordered = unfinished;  // what lives has its resources before anything else may start
  std::stable_partition(ordered.begin(), ordered.end(), lives);
  for (const RunRecord& run : ordered) {
    try {
      recover_run(run);
    } catch (const Error& error) {
      spdlog::error("run {}: not recovered: {}", run.id, error.message());
    }
  }
}

// Every directory of a run: what its checkout is, before anything may be evicted, and whether it is among the
// unfinished at all: an index that has lost a row must not cost a live run its life. False if the history cannot be
// believed, or what it says may not be on the disk: then nothing may be removed, nor evicted.
bool Pipeline::look_into_directories(std::vector<RunRecord>& unfinished, const store::History::Unreadable& note) {
  std::set<std::string> known;
  for (const RunRecord& run : unfinished) known.insert(run.id);
  try {
    history_.make_durable();
    for (const auto& entry : std::filesystem::directory_iterator(data_.runs())) {
      const std::string id = entry.path().filename();
      const auto standing = history_.standing(id);
      if (!standing) continue;
      // A container of an Engine may outlive its run's row by the time it takes to remove it.
      if (standing->snapshot) checkouts_.adopt(*standing->snapshot, id);
      if (standing->ended || known.contains(id)) continue;
      try {
        unfinished.push_back(history_.get(id));
      } catch (const Error& error) {
        note(id, error.message());
      }
    }
  } catch (const Error& error) {
    spdlog::error("{}: nothing is removed or evicted", error.message());
    return false;
  }
  checkouts_.settle();
  return true;
}

void Pipeline::recover_run(const RunRecord& run) {
  if (run.kind == RunKind::kInteractive) return recover_interactive(run);
  if (run.kind == RunKind::kChild) {
    if (run.status == RunStatus::kCancelRequested) end_asked(run);  // the rest is its parent's to say
    return;
  }
  const os::RunDirectory directory = data_.run(run.id);
  const auto claim = claim_of(run.id);
  // A power cut, most likely: nobody knows who supervised it. It was started, and ends.
  if (!claim && shim::is_claimed(directory)) return scheduler_->post([this, id = run.id] { finish(id); });
  if (!claim) {
    // Never started: a shim of the last daemon that is only now waking up finds the claim taken, or takes it first.
    if (run.status == RunStatus::kCancelRequested) return end_cancelled(run);
    if (run.status != RunStatus::kRunning && run.status != RunStatus::kPaused && run.status != RunStatus::kFinalizing)
      return enqueue(run);
    // It did start, and its directory is gone.
    const Outcome outcome{.kind = OutcomeKind::kLost, .message = "what its supervisor wrote down is gone"};
    return end(run, outcome, error_of(outcome), {});
  }
  if (claim->attempt < run.attempt) return again_->enqueue(run.id);
  occupy(run);
  watch_->add(run.id, directory);  // reports what happened meanwhile: start.json, exit.json
  if (auto shim = os::open_process(claim->shim)) {
    watch_->set_shim(run.id, std::move(*shim));
    stay_awake(run.id);
    // A pause that was written down and not told.
    if (const auto pause = shim::read_pause(directory))
      if (const auto started = shim::read_started(directory); started && started->pause_requests < pause->number)
        watch_->signal_shim(run.id, SIGUSR2);
    // A cancel that was acknowledged but not yet handed over.
    if (run.status == RunStatus::kCancelRequested) {
      shim::write_cancel(directory, {.reason = run.status_reason, .as_failure = history_.cancel_fails(run.id)});
      watch_->signal_shim(run.id, SIGUSR1);
    }
  } else {
    scheduler_->release(run.id);
    scheduler_->post([this, id = run.id] { finish(id); });
  }
}

void Pipeline::remove_orphans(const std::vector<RunRecord>& unfinished, const std::set<std::string>& owned) {
  for (const auto& entry : std::filesystem::directory_iterator(data_.runs())) {
    const std::string id = entry.path().filename();
    if (owned.contains(id)) continue;
    try {
      sandbox_.remove_remains(id);
      clear_away(id);
    } catch (const Error& error) {
      spdlog::warn("left over, not removed: {}", error.message());
    }
  }
  // Trial containers of daemons that were killed while they started. Ours may be at work right now.
  const std::string own_trial = "trial-" + std::to_string(::getpid()) + "-";
  // What builds that were interrupted have left may be large.
  auto orphans = prepared_->orphans(unfinished);
  scheduler_->post([orphans = std::move(orphans)] {
    for (const auto& orphan : orphans) try {
        os::remove_tree(orphan);
      } catch (const Error& error) {
        spdlog::warn("left over, not removed: {}", error.message());
      }
  });
  for (const auto& entry : std::filesystem::directory_iterator(data_.cache())) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("trial-") || name.starts_with(own_trial)) continue;
    try {
      if (!is_over(os::RunDirectory(entry.path()))) continue;  // the next start finds it again
      sandbox_.remove_remains(name);
      os::remove_tree(entry.path());
    } catch (const Error& error) {
      spdlog::warn("left over, not removed: {}", error.message());
    }
  }
  const std::string own = ".tmp-" + std::to_string(::getpid()) + "-";  // the runtime's trial may be at work
  for (const auto& parent : {data_.home(), data_.roots(), data_.cache()})
    for (const auto& entry : std::filesystem::directory_iterator(parent)) {
      const std::string name = entry.path().filename();
      if (!name.starts_with(".tmp-") || name.starts_with(own)) continue;
      try {
        os::remove_tree(entry.path());
      } catch (const Error& error) {
        spdlog::warn("left over, not removed: {}", error.message());
      }
    }
}

}  // namespace runner::pipeline
