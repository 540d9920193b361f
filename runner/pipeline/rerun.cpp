// run rerun: a new row for an old snapshot. The source directory may have changed or be gone: nothing here reads it.
#include <utility>

#include "git/git_state.hpp"
#include "runner/core/error.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::pipeline {

// Every directory of it is read and checked; of the files it is asked whether they are there. Reading them, too, is
// for the checkout, which checks each byte.
void Pipeline::require_whole(const RunRecord& run) const {
  const std::string what = "the snapshot of run " + run.id;
  if (!run.snapshot) throw Error(ErrorCode::kNotFound, what + ": there is none", "submit the directory anew");
  try {
    snapshot::for_each_entry(content_, *run.snapshot, [&](const snapshot::Entry& entry) {
      if (entry.type != snapshot::EntryType::kDirectory && !content_.contains(entry.content))
        throw Error(ErrorCode::kInternal, entry.path + ": its content is missing");
    });
  } catch (const Error& error) {
    throw Error(ErrorCode::kInternal, what + ": " + error.message(), "'runner fsck' tells what else is damaged");
  }
}

EnvironmentRef Pipeline::environment_again(const RunRecord& original, Admission& admission,
                                           std::vector<std::string>& warnings) const {
  RunDefinition& definition = admission.run.definition;
  const EnvironmentRef& before = original.environment;
  const bool another = admission.python || admission.environment || definition.image != original.definition.image;
  if (another) {
    resolve(admission);
    return admission.run.environment;
  }
  if (is_built(before)) return built_again(before, admission);
  if (definition.isolation == Isolation::kDocker) {
    if (before.image && !definition.pull_image) return image_again(original, admission);
    return resolve_image(admission, false);
  }
  require_sandbox(admission);
  if (before.interpreter.empty()) return before;
  EnvironmentRef now;
  try {
    Admission as_it_was;
    as_it_was.interpreter_required = true;
    if (!definition.within.empty()) as_it_was.caller = admission.caller;
    as_it_was.run.definition.within = definition.within;
    now = resolve_interpreter(before.interpreter, as_it_was);
    admission.environment_row = std::move(as_it_was.environment_row);
    admission.lock = std::move(as_it_was.lock);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUnavailable, "the interpreter of run " + original.id + ": " + error.message(),
                "--python PATH names another one");
  }
  if (now.digest != before.digest)
    warnings.push_back("the interpreter has changed since run " + original.id + ": " + before.interpreter +
                       (now.python_version == before.python_version
                            ? ", Python " + now.python_version + " as before"
                            : ", Python " + before.python_version + " then, " + now.python_version + " now"));
  return now;
}

// By its lock, whether the build is still there or not; with --rebuild by its specification.
EnvironmentRef Pipeline::built_again(const EnvironmentRef& before, Admission& admission) const {
  RunDefinition& definition = admission.run.definition;
  if (definition.isolation == Isolation::kDocker)
    require_engine(admission);  // the Engine, and what it can enforce
  else
    require_sandbox(admission);
  EnvironmentRef environment = before;
  environment.interpreter.clear();
  if (definition.rebuild_environment || definition.pull_image) {
    environment.lock_digest.reset();
    environment.image.reset();
  } else if (environment.lock_digest) {
    if (const auto build = prepared_->find(
            {.environment = before.digest, .engine = definition.engine_socket, .lock = before.lock_digest}))
      take_build(environment, *build);
  }
  return environment;
}

Pipeline::Submitted Pipeline::rerun(const std::string& id, const api::Submission& overrides) {
  sandbox_.expect_run();
  const RunRecord original = history_.get(id);
  refuse_without_script(original, "rerun ");
  Admission admission = admit_again(original, overrides, default_secrets_file(),
                                    [this](const std::string& name) { return find_registered(name); });
  RunRecord& run = admission.run;
  run.submission_digest = snapshot::sha256("rerun of " + id + "\n" + overrides.canonical);
  if (auto repeated = find_repeated(run)) return std::move(*repeated);
  history_.require_room();
  require_whole(original);
  if (run.parent) run.parent = history_.resolve(*run.parent);
  resolve_dependencies(run.definition);
  settle_gpus(run.definition);
  std::vector<std::string> warnings;
  run.environment = environment_again(original, admission, warnings);
  std::move(admission.notices.begin(), admission.notices.end(), std::back_inserter(warnings));

  // The code is the same, so is where it came from.
  run.snapshot = original.snapshot;
  run.properties["ContentSnapshotId"] = original.snapshot->hex();
  run.git = original.git;
  if (run.git)
    for (auto& [key, value] : git::properties_of(*run.git)) run.properties.insert_or_assign(key, value);
  for (Artifact& artifact : history_.artifacts(id))
    if (artifact.name.starts_with("git/")) admission.artifacts.push_back(std::move(artifact));
  run.properties[kRerunOf] = original.id;
  return accept(std::move(admission), std::move(warnings));
}

}  // namespace runner::pipeline
