// What a run's script writes down while it lives: its journal's metrics, and the files that it names. They are read by
// one thread at a time (Turns): a journal's offset is moved with what is before it. Files before the metrics of the
// same part, rows before a file is emptied, and the offset last: a crash in between has a part read again, to no harm.
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runner/collect/handed_over.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {

// Who has the run's turn. False if what comes next are files, for which Intake::kQuick has no time.
bool Pipeline::ingest_journal(const std::string& id, Intake intake) {
  const bool complete = intake == Intake::kLast;
  try {
    // A script that writes faster than this reads must not hold up the watch for the others: what is left comes with
    // the next word of the journal, at the latest with the end.
    constexpr int kPartsAtOnce = 8;   // of about 1 MiB
    const auto claim = claim_of(id);  // the directory may be an earlier attempt's
    if (!claim) return true;
    if (!complete && !history_.has_room()) return true;  // it is all still there at the end
    std::int64_t offset = history_.journal_offset(id);
    for (int part_count = 0; complete || part_count < kPartsAtOnce; ++part_count) {
      if (complete && stopping_.stop_requested()) throw Stopping{};
      const auto part = collect::read_journal(data_.run(id).journal(), offset, complete);
      // While the run is live, a journal that cannot be read may be one that is just being cleared away with its run.
      if (!complete && part.next_offset <= offset) return true;
      if (!part.artifacts.empty()) {
        if (intake == Intake::kQuick) return false;
        take_files(id, *claim, part.artifacts, intake);
      }
      for (const std::string& notice : part.notices) history_.add_notice(id, notice);
      note_losses(id, part.losses);
      if (part.next_offset <= offset) return true;
      note_drops(id, history_.add_metrics(id, part.records, part.next_offset, claim->attempt));
      offset = part.next_offset;
    }
  } catch (const Error& error) {
    spdlog::warn("run {}: metrics not read: {}", id, error.message());
    if (complete) throw;
  }
  return true;
}

// The watch's thread, which waits for nobody.
void Pipeline::journal_grew(const std::string& id) {
  auto turn = journal_turns_.take_or_leave(id);
  if (!turn) return;
  const bool done = ingest_journal(id, Intake::kQuick);
  if (!turn.finish() || !done) intake_->enqueue(id);
}

// The intake's thread: files may be large.
void Pipeline::take_in_files(const std::string& id) {
  try {
    auto turn = journal_turns_.take(id);
    ingest_journal(id, Intake::kLive);
    if (!turn.finish()) intake_->enqueue(id);
  } catch (const Stopping&) {  // the next daemon reads on from the offset
  } catch (const std::exception& error) {
    spdlog::warn("run {}: its files are not taken in yet: {}", id, error.what());
  }
}

void Pipeline::take_in_journal(const std::string& id) {
  constexpr std::chrono::seconds kPatience{10};
  const auto too_long = [&] {
    return Error(ErrorCode::kUnavailable,
                 "run " + id + ": what it logged is still being read: there is very much of it", "ask again");
  };
  struct ::stat info {};
  if (::lstat(data_.run(id).journal().c_str(), &info) != 0) return;
  const auto deadline = os::monotonic_now() + kPatience;
  std::int64_t offset = history_.journal_offset(id);
  if (offset >= info.st_size) return;
  auto turn = journal_turns_.take(id, kPatience);
  if (!turn) throw too_long();
  for (offset = history_.journal_offset(id); offset < info.st_size;) {
    try {
      ingest_journal(id, Intake::kLive);
    } catch (const Stopping&) {
      throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again: the run goes on");
    }
    const std::int64_t before = std::exchange(offset, history_.journal_offset(id));
    if (offset <= before) break;  // half a record; or what cannot be read, or is of no attempt that lives
    if (offset < info.st_size && os::monotonic_now() > deadline) throw too_long();
  }
  if (!turn.finish()) intake_->enqueue(id);
}

// Why the journal of `id` cannot add to `target`; empty if it can.
std::string Pipeline::why_not_added(const std::string& id, const std::string& target) const {
  try {
    if (target != id) {
      const auto lineage = history_.lineage(target);
      if (std::find(lineage.begin(), lineage.end(), id) == lineage.end())
        return "run " + target + " is not below this one";
    }
    return is_final(history_.get(target).status) ? "run " + target + " had ended" : "";
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return "there is no run " + target;
  }
}

collect::Bounds Pipeline::handed_over_by(const std::string& id) const {
  const auto known = handed_over_.with([&](const auto& all) {
    const auto at = all.find(id);
    return at == all.end() ? std::nullopt : std::optional(at->second);
  });
  if (known) return *known;
  return {.artifacts = static_cast<std::size_t>(history_.artifact_count(id))};
}

// The files that a part of the journal names: into the store, then the rows, then they are emptied.
void Pipeline::take_files(const std::string& id, const shim::Claim& claim,
                          std::span<const collect::JournalArtifact> files, Intake intake) {
  constexpr std::size_t kAtOnce = 256;  // share a commit
  if (history_.get(id).attempt != claim.attempt) return;
  const collect::HandedOverFiles directory(data_.run(id).artifacts());
  for (; !files.empty(); files = files.subspan(std::min(kAtOnce, files.size())))
    take_files_at_once(id, directory, files.first(std::min(kAtOnce, files.size())), intake);
}

void Pipeline::take_files_at_once(const std::string& id, const collect::HandedOverFiles& directory,
                                  std::span<const collect::JournalArtifact> files, Intake intake) {
  const auto hold = content_.hold();  // until the rows name them
  const auto batch = intake == Intake::kLast ? content_.begin_last() : content_.begin();
  collect::Bounds spent = handed_over_by(id);
  std::map<std::string, std::vector<Artifact>> taken;  // by run
  std::map<std::string, std::string> refused;          // why, by run
  std::vector<collect::JournalArtifact> to_empty;
  for (const collect::JournalArtifact& file : files) {
    const std::string target = file.run.empty() ? id : file.run;
    const auto refuse = [&](const std::string& why) { history_.add_notice(id, file.name + ": not stored: " + why); };
    const auto known = refused.find(target);
    const std::string why = known != refused.end() ? known->second : refused[target] = why_not_added(id, target);
    if (!why.empty()) {
      refuse(why);
      continue;
    }
    std::vector<Artifact>& of_target = taken[target];
    if (const auto there = history_.artifact(target, file.name)) {
      // A daemon that died has taken it, and its record is read again; or the name was used twice.
      if (there->bytes != file.bytes) refuse("the run has a file of this name, and a name is written once");
      to_empty.push_back(file);
      continue;
    }
    if (std::any_of(of_target.begin(), of_target.end(), [&](const Artifact& one) { return one.name == file.name; }))
      continue;
    auto collected = directory.take(file, *batch, spent, stopping_.get_token());
    if (collected.stopped) throw Stopping{};
    for (const std::string& notice : collected.notices) history_.add_notice(target, notice);
    if (collected.artifacts.empty()) continue;
    of_target.push_back(std::move(collected.artifacts.front()));
    to_empty.push_back(file);
  }
  batch->commit();
  for (const auto& [target, artifacts] : taken)
    if (!artifacts.empty()) history_.add_artifacts(target, artifacts);
  for (const collect::JournalArtifact& file : to_empty) {
    const std::string& target = file.run.empty() ? id : file.run;
    if (history_.artifact(target, file.name))
      directory.empty(file);
    else
      history_.add_notice(id, file.name + ": not stored: run " + target + " had ended");  // meanwhile
  }
  handed_over_.with([&](auto& all) { all[id] = spent; });
}

// At the end, who has the run's turn: what was linked to its name and then had no time to be named in the journal.
void Pipeline::take_left_files(const std::string& id) {
  const collect::HandedOverFiles directory(data_.run(id).artifacts());
  const auto hold = content_.hold();
  const auto batch = content_.begin_last();
  collect::Bounds spent = handed_over_by(id);
  std::map<std::string, bool> takes;  // by run
  const auto target_of = [&](const std::string& run) { return run.empty() ? id : run; };
  const auto is_taken = [&](const std::string& run, const std::string& name) {
    const std::string target = target_of(run);
    const auto [at, added] = takes.try_emplace(target, false);
    if (added) at->second = why_not_added(id, target).empty();
    return !at->second || history_.artifact(target, name).has_value();
  };
  const auto left = directory.gather_left(*batch, spent, is_taken, stopping_.get_token());
  for (const auto& [run, collected] : left)
    if (collected.stopped) throw Stopping{};
  batch->commit();
  for (const auto& [run, collected] : left) {
    const bool known = takes[target_of(run)];
    for (const std::string& notice : collected.notices) history_.add_notice(known ? target_of(run) : id, notice);
    if (known && !collected.artifacts.empty()) history_.add_artifacts(target_of(run), collected.artifacts);
  }
}

// A name is written once: what was handed over was there before what lies in outputs/ and logs/ at the end.
void Pipeline::leave_out_handed_over(const std::string& id, collect::Collected& collected) const {
  std::map<std::string, Hash> there;
  for (const Artifact& artifact : history_.artifacts(id)) there.emplace(artifact.name, artifact.sha256);
  std::erase_if(collected.artifacts, [&](const Artifact& artifact) {
    const auto at = there.find(artifact.name);
    if (at == there.end()) return false;
    if (at->second != artifact.sha256)
      collected.notices.push_back(artifact.name + ": not stored: another file of this name was uploaded before");
    return true;
  });
}

// One notice that grows, and before the journal's offset: a crash in between has it told twice, not never.
void Pipeline::note_losses(const std::string& id, const collect::JournalLosses& losses) {
  if (losses == collect::JournalLosses{}) return;
  const Told told = told_losses_.with([&](auto& all) {
    Told& of_run = all[id];
    of_run.losses += losses;
    return of_run;
  });
  const std::int64_t number = history_.add_notice(id, to_text(told.losses), told.notice);
  told_losses_.with([&](auto& all) { all[id].notice = number; });
}

// The same of what the history does not take; only it can say what that is.
void Pipeline::note_drops(const std::string& id, const store::MetricDrops& drops) {
  if (drops == store::MetricDrops{}) return;
  const Told told = told_losses_.with([&](auto& all) {
    Told& of_run = all[id];
    of_run.drops += drops;
    return of_run;
  });
  const std::int64_t number = history_.add_notice(id, store::to_text(told.drops), told.drops_notice);
  told_losses_.with([&](auto& all) { all[id].drops_notice = number; });
}

}  // namespace runner::pipeline
