// submit --dry-run: everything up to the snapshot, looked at instead of done.
#include <algorithm>
#include <iterator>
#include <utility>

#include "git/git_state.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::pipeline {
namespace {

bool holds(const snapshot::Survey& survey, const std::string& path) {
  const auto at =
      std::lower_bound(survey.files.begin(), survey.files.end(), path,
                       [](const snapshot::SurveyedFile& file, const auto& name) { return file.path < name; });
  return at != survey.files.end() && at->path == path;
}

}  // namespace

Pipeline::Plan Pipeline::plan(const api::Submission& submission) {
  Admission admission =
      admit(submission, default_secrets_file(), [this](const std::string& name) { return find_registered(name); });
  RunRecord& run = admission.run;
  run.submission_digest = snapshot::sha256(submission.canonical);
  const auto repeated = find_repeated(run);
  resolve(admission);

  const snapshot::Options options = snapshot_options(run.definition.source_directory);
  Plan plan{.run = {},
            .files = snapshot::survey(options),
            .command = start_command(run.definition, is_built(run.environment) && run.environment.interpreter.empty()
                                                         ? "python"
                                                         : run.environment.interpreter),
            .environment_present = is_prepared(run),
            .working_directory = working_directory_for(run.definition.source_directory, account_.home),
            .warnings = std::move(admission.notices)};
  if (!run.definition.script.empty() && !holds(plan.files, run.definition.script))
    throw script_left_out(options, run.definition.script);
  std::move(plan.files.warnings.begin(), plan.files.warnings.end(), std::back_inserter(plan.warnings));
  plan.files.warnings.clear();
  run.git = git::read_state(run.definition.source_directory, plan.warnings, snapshot::has_untracked);
  if (repeated)
    plan.warnings.push_back("the idempotency key names run " + repeated->run.id +
                            " already: submitting would start nothing");
  plan.run = std::move(run);
  return plan;
}

}  // namespace runner::pipeline
