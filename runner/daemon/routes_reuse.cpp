// What a submission would do, and old runs used again.
#include <nlohmann/json.hpp>

#include "runner/api/plan_document.hpp"
#include "runner/api/submission.hpp"
#include "runner/daemon/routes.hpp"

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
  respond_submitted(pipeline_.rerun(id, api::parse_overrides(request.body)), exchange);
}

}  // namespace runner::daemon
