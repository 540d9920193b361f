// What a submission would do, and old runs used again.
#include <nlohmann/json.hpp>

#include "runner/api/code_diff_document.hpp"
#include "runner/api/plan_document.hpp"
#include "runner/api/restored_document.hpp"
#include "runner/api/submission.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/daemon/run_handlers.hpp"

namespace runner::daemon {
namespace {

std::string_view name_of(snapshot::EntryType type) {
  switch (type) {
    case snapshot::EntryType::kExecutable:
      return "executable";
    case snapshot::EntryType::kSymlink:
      return "symlink";
    case snapshot::EntryType::kDirectory:
      return "directory";
    case snapshot::EntryType::kFile:
      break;
  }
  return "file";
}

std::string_view name_of(snapshot::ChangeStatus status) {
  switch (status) {
    case snapshot::ChangeStatus::kAdded:
      return "added";
    case snapshot::ChangeStatus::kDeleted:
      return "deleted";
    case snapshot::ChangeStatus::kRenamed:
      return "renamed";
    case snapshot::ChangeStatus::kTypeChanged:
      return "typeChanged";
    case snapshot::ChangeStatus::kModified:
      break;
  }
  return "modified";
}

}  // namespace

// A path of its own rather than a parameter of the submission: a daemon that does not know it must not run anything.
void Routes::dry_run(const http::Request& request, Exchange& exchange) {
  const auto plan = pipeline_.plan(api::parse_submission(request.body));
  std::vector<api::PlanFile> files;
  files.reserve(plan.files.files.size());
  for (const snapshot::SurveyedFile& file : plan.files.files)
    files.push_back({.path = file.path, .type = name_of(file.type), .bytes = file.bytes});
  exchange.respond({.status = 200,
                    .body = api::plan_document(plan.run,
                                               {.environment_present = plan.environment_present,
                                                .interpreter_candidates = plan.command.candidates,
                                                .command = plan.command.arguments,
                                                .working_directory = plan.working_directory,
                                                .warnings = plan.warnings},
                                               files)});
}

void Routes::rerun(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  respond_submitted(pipeline_, pipeline_.rerun(id, api::parse_overrides(request.body)), exchange);
}

void Routes::restore(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  const std::string directory = absolute_path(body_of(request), "directory");
  const Hash snapshot = pipeline_.snapshot_of(id);
  const auto restored = pipeline_.restore_snapshot(snapshot, directory);
  exchange.respond({.status = 200,
                    .body = api::restored_document({.run = id,
                                                    .snapshot = snapshot,
                                                    .directory = directory,
                                                    .files = restored.files,
                                                    .bytes = restored.bytes})});
}

void Routes::code_diff(const http::Request& request, Exchange& exchange) {
  const std::string before = run_of(request);
  const auto other = request.parameter("to");
  if (!other) throw Error(ErrorCode::kInvalid, "query: 'to' is missing", "name the run to compare with");
  const std::string after = pipeline_.history().resolve(*other);
  const std::string format = request.parameter("format").value_or("json");
  if (format != "json" && format != "patch")
    throw Error(ErrorCode::kInvalid, "format: '" + format + "' is neither json nor patch");
  const auto changes = pipeline_.code_changes(before, after);
  if (format == "patch") {
    exchange.start_stream(200, "text/x-diff", std::nullopt);
    for (const snapshot::FileChange& change : changes)
      snapshot::write_patch(pipeline_.content(), change,
                            [&exchange](std::span<const std::byte> piece) { exchange.write(piece); });
    return exchange.finish_stream();
  }
  std::vector<api::ChangedFile> files;
  for (const snapshot::FileChange& change : changes) {
    const auto lines = snapshot::count_lines(pipeline_.content(), change);
    files.push_back({.path = change.path,
                     .old_path = change.old_path,
                     .status = name_of(change.status),
                     .old_type = change.before ? name_of(change.before->type) : "",
                     .type = change.after ? name_of(change.after->type) : "",
                     .similarity = change.similarity,
                     .old_bytes = change.before ? change.before->bytes : 0,
                     .bytes = change.after ? change.after->bytes : 0,
                     .binary = lines.binary,
                     .additions = lines.additions,
                     .deletions = lines.deletions});
  }
  exchange.respond({.status = 200,
                    .body = api::code_diff_document({.before = before,
                                                     .after = after,
                                                     .before_snapshot = pipeline_.snapshot_of(before),
                                                     .after_snapshot = pipeline_.snapshot_of(after)},
                                                    files)});
}

}  // namespace runner::daemon
