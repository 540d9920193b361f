// What is told of runs rather than executed by us: their name, tags and properties, their children, their end, single
// files, that they go.
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "runner/collect/handed_over.hpp"
#include "runner/collect/outputs.hpp"
#include "runner/core/artifact_name.hpp"
#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {
namespace {

Error ended_already(const RunRecord& run, const char* attempted) {
  return Error(ErrorCode::kConflict,
               attempted + (" " + run.id) + ": it has ended already: " + std::string(to_string(run.status)));
}

// Of a kind that a script could hand over.
void check_file_name(const std::string& name) {
  if (!collect::is_artifact_name(name) || collect::is_unfinished_name(name))
    throw Error(ErrorCode::kInvalid, "file name '" + name + "': not file names joined by single slashes",
                "for example outputs/model.pkl");
  if (is_own_artifact_name(name))
    throw Error(ErrorCode::kInvalid, "file name '" + name + "': files of such names are the runner's own",
                "for example outputs/model.pkl");
}

// As the user would open it.
std::filesystem::path existing_file(const std::string& path) {
  std::error_code failed;
  const auto file = std::filesystem::canonical(path, failed);
  if (failed) throw errno_error(failed.value(), "open " + path, ErrorCode::kNotFound);
  struct ::stat info {};
  if (::stat(file.c_str(), &info) != 0) throw errno_error(errno, "open " + path);
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::kInvalid, "file " + path + ": not a regular file");
  return file;
}

}  // namespace

RunRecord Pipeline::change(const std::string& id, const api::RunPatch& patch) {
  store::RunChanges changes{
      .name = patch.name, .tags = patch.tags, .remove_tags = patch.remove_tags, .properties = patch.properties};
  RunRecord run = history_.update(id, changes, utc_now());
  events_.notify(id);
  return run;
}

std::vector<RunRecord> Pipeline::add_children(const std::string& parent,
                                              const std::vector<api::ChildRequest>& children) {
  history_.require_room();
  std::vector<store::NewChild> wanted;
  wanted.reserve(children.size());
  for (const api::ChildRequest& child : children)
    wanted.push_back({.id = child.id, .name = child.name, .tags = child.tags, .properties = child.properties});
  return history_.add_children(parent, wanted, utc_now());
}

RunRecord Pipeline::end_run(const std::string& id, const api::EndRequest& wanted) {
  const RunRecord run = history_.get(id);
  if (run.kind == RunKind::kScript)
    throw Error(ErrorCode::kConflict, "run " + id + " ends when its script does",
                "`runner run fail` and `runner cancel` stop a script");
  if (!is_final(run.status))
    conclude(run, outcome_of_end(wanted.status, wanted.error ? wanted.error->message : ""), wanted.error);
  RunRecord ended = history_.get(id);
  if (ended.status != wanted.status) throw ended_already(ended, "end");
  return ended;
}

// What it has logged is taken in first: a record for a run that has ended is dropped.
void Pipeline::conclude(const RunRecord& run, const Outcome& outcome, const std::optional<RunError>& error) {
  if (run.kind == RunKind::kInteractive) return conclude_interactive(run.id, outcome, error);
  for (const std::string& above : history_.lineage(run.id)) take_in_journal(above);
  end(history_.get(run.id), outcome, error, {});
}

// Its row says that it is to be cancelled, or failed. Nobody else ends it.
void Pipeline::end_asked(const RunRecord& run) {
  if (is_final(run.status)) return;
  const bool fails = history_.cancel_fails(run.id);
  const Outcome outcome = outcome_of_end(fails ? RunStatus::kFailed : RunStatus::kCanceled, run.status_reason);
  const auto error = fails ? std::optional(RunError{.message = run.status_reason}) : std::nullopt;
  if (run.kind == RunKind::kChild) {
    try {
      return conclude(run, outcome, error);
    } catch (const Error& trouble) {  // that of its metrics is no reason to go on
      if (trouble.code() != ErrorCode::kUnavailable) throw;
      spdlog::warn("run {}: {}", run.id, trouble.message());
    }
    return end(history_.get(run.id), outcome, error, {});
  }
  conclude(run, outcome, error);
}

// The first of them is told of by who ended it; the others are children that it left open.
void Pipeline::tell_ended(const std::vector<std::string>& ended, RunStatus of_parent) {
  RunRecord child;
  child.kind = RunKind::kChild;
  child.status = of_parent == RunStatus::kCompleted ? of_parent : RunStatus::kCanceled;
  for (std::size_t i = 1; i < ended.size(); ++i) {
    child.id = ended[i];
    events_.notify(child.id);
    settle_dependents(child);
  }
}

void Pipeline::refuse_without_script(const RunRecord& run, const char* what) const {
  if (run.kind == RunKind::kScript) return;
  throw Error(ErrorCode::kConflict, what + run.id + ": it has no script of its own",
              run.kind == RunKind::kChild ? "ask for the run that its parent's script belongs to" : "");
}

Artifact Pipeline::add_file(const std::string& id, const api::UploadRequest& upload) {
  check_file_name(upload.name);
  const auto file = existing_file(upload.path);
  if (const RunRecord run = history_.get(id); is_final(run.status)) throw ended_already(run, "add a file to");
  history_.require_room();
  const auto hold = content_.hold();
  const auto batch = content_.begin();
  const auto artifact = collect::gather_file(file, upload.name, *batch, stopping_.get_token());
  if (!artifact) throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again");
  const auto refuse_another = [&] {
    const auto there = history_.artifact(id, upload.name);
    if (there && there->sha256 != artifact->sha256)
      throw Error(ErrorCode::kConflict, "run " + id + " has another file '" + upload.name + "' already",
                  "a name is written once; choose another");
    return there.has_value();
  };
  if (refuse_another()) return *artifact;
  batch->commit();
  history_.add_artifacts(id, std::vector{*artifact});
  if (!refuse_another()) throw ended_already(history_.get(id), "add a file to");  // meanwhile
  events_.notify(id);
  return *artifact;
}

std::vector<std::string> Pipeline::delete_run(const std::string& id) {
  auto removed = history_.remove(id, utc_now());
  for (const std::string& run : removed) events_.notify(run);
  return removed;
}

}  // namespace runner::pipeline
