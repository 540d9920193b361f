// What a run runs in, when that has to be prepared first: found at submit, built while the run waits, looked at again
// when it starts.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "envs/build_variables.hpp"
#include "envs/digest.hpp"
#include "envs/fingerprint.hpp"
#include "envs/image.hpp"
#include "runner/core/error.hpp"
#include "runner/engine/endpoint.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/base_images.hpp"
#include "runner/pipeline/environment_registry.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {
namespace {

using envs::SpecificationKind;

constexpr const char* kBuildLog = "system_logs/environment_build.log";
constexpr const char* kFileOfPackages = "the file of packages";  // among the withheld

BuildLane lane_of(const std::string& kind) {
  if (kind == "venv") return BuildLane::kVenv;
  return kind == "dockerfile" ? BuildLane::kEngine : BuildLane::kConda;  // conda's package cache has one writer
}

// "Autosave_2026-11-29T06:30:00Z_1a2b3c4d" (spec/azure-ml-v1.md).
std::string autosave_name(const Hash& content) {
  const std::string now = to_iso8601(utc_now());
  return "Autosave_" + now.substr(0, now.find('.')) + "Z_" + content.hex().substr(0, 8);
}

std::map<std::string, std::string> own_variables() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); equals != std::string_view::npos)
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace

std::optional<EnvironmentChoice> Pipeline::find_registered(const std::string& name) const {
  const auto found = find_version(environments_, curated_, name);
  return found ? std::optional(choice_of(*found)) : std::nullopt;
}

// Of who stands nowhere: a script, to whom the machine is not there.
envs::Caller Pipeline::own_caller() { return {.directory = "/", .variables = own_variables()}; }

// To judge an interpreter it is executed, outside of a sandbox, with all that its site packages bring along: and a
// script may be able to write there. What it asks for is what was judged before, and has not changed.
envs::Interpreter Pipeline::interpreter_for(const RunDefinition& definition, const std::optional<std::string>& python,
                                            const envs::Caller& caller) const {
  if (definition.within.empty()) return probe_.resolve(python, caller);
  if (auto known = probe_.remembered(python, caller)) return std::move(*known);
  throw Error(ErrorCode::kUnavailable,
              "the interpreter " + python.value_or("on the PATH") + " is not as it was when it was last asked",
              "a script cannot have it asked: submit any run with it from outside");
}

EnvironmentRef Pipeline::resolve_interpreter(const std::optional<std::string>& python, Admission& admission) const {
  EnvironmentRef environment;
  environment.kind = "interpreter";
  environment.name = "user-managed";
  envs::Specification specification;
  std::string identity = "kind: none\n";
  try {
    const envs::Interpreter interpreter = interpreter_for(admission.run.definition, python, admission.caller);
    environment.digest = interpreter.digest;
    environment.interpreter = interpreter.executable;
    environment.python_version = interpreter.version;
    const envs::Lock lock = envs::lock_of(interpreter);
    admission.lock = envs::to_json(lock);
    environment.lock_digest = envs::digest_of(lock);
    specification.interpreter = interpreter.executable;
    identity = interpreter.identity;
  } catch (const Error& error) {
    // A shell script or a command runs without Python, unless one was asked for.
    if (admission.interpreter_required || python || error.code() != ErrorCode::kUnavailable) throw;
    environment.kind = "none";
    environment.digest = envs::digest_of(std::string_view(identity));
  }
  admission.environment_row = store::StoredEnvironment{.digest = environment.digest,
                                                       .kind = environment.kind,
                                                       .specification = envs::to_json(specification),
                                                       .identity = std::move(identity),
                                                       .created = utc_now()};
  return environment;
}

// Its identity, and the build that there may be already.
EnvironmentRef Pipeline::resolve_prepared(Admission& admission) const {
  RunRecord& run = admission.run;
  const EnvironmentChoice& choice = admission.environment.value();
  envs::Specification specification = choice.read.specification;
  envs::BuildBase base = envs::this_platform();
  bool known = true;
  EnvironmentRef environment = run.environment;  // of an image: what was found out of it
  if (specification.kind == SpecificationKind::kVenv) {
    const envs::Interpreter python = interpreter_for(run.definition, std::nullopt, admission.caller);
    specification.interpreter = python.base_executable;
    base.base = python.implementation + " " + python.version;
  }
  if (specification.kind == SpecificationKind::kDockerfile || specification.kind == SpecificationKind::kCondaImage) {
    auto engine = containers_.engine(run.definition.engine_socket);
    const auto images = images_of(specification);
    const bool pulls = run.definition.pull_image && !images.empty();
    const auto bases = pulls ? std::nullopt : look_at_bases(images, engine);
    known = bases.has_value();
    base.base = known ? bases->ids : "not resolved yet";
    take_context(specification, bases.value_or(BaseImages{}), run.definition.source_directory, data_.cache());
  }
  admission.environment_row = environment_row(specification, base);
  environment.kind = to_string(specification.kind);
  environment.digest = admission.environment_row->digest;
  environment.name = choice.name;
  environment.version = choice.version;
  if (choice.name.empty()) name_environment(admission, environment);
  if (known && !run.definition.rebuild_environment)
    if (const auto build = prepared_->find({.environment = environment.digest, .engine = run.definition.engine_socket}))
      take_build(environment, *build);
  return environment;
}

// An unregistered one is kept under a name of its own, once.
void Pipeline::name_environment(Admission& admission, EnvironmentRef& environment) const {
  const std::string definition = definition_json(admission.environment->read);
  const Hash content = envs::digest_of(std::string_view(definition));
  if (const auto known = environments_.version_with(content)) {
    environment.name = known->name;
    environment.version = std::to_string(known->version);
    return;
  }
  environment.name = autosave_name(content);
  environment.version = "1";
  admission.autosave = definition;
}

void Pipeline::take_build(EnvironmentRef& environment, const store::EnvironmentBuild& build) const {
  environment.lock_digest = build.lock;
  environment.interpreter = build.interpreter;
  if (const auto lock = environments_.lock(build.lock)) {
    const envs::Lock content = envs::lock_from_json(*lock);
    environment.python_version = content.python_version;
  }
  if (environment.kind == "dockerfile") environment.image = ImageRef{.id = build.image, .digest = {}, .platform = {}};
}

// What the run's row relies on.
void Pipeline::keep_environment(const Admission& admission) {
  if (admission.environment_row) environments_.add(*admission.environment_row);
  if (!admission.lock.empty()) environments_.add_lock(admission.run.environment.lock_digest.value(), admission.lock);
  if (!admission.autosave.empty())
    environments_.add_version(admission.run.environment.name, admission.autosave,
                              envs::digest_of(std::string_view(admission.autosave)), utc_now());
}

// What of it goes with the run's row.
void Pipeline::keep_caller(Admission& admission) {
  RunDefinition& definition = admission.run.definition;
  definition.build_variables.clear();
  definition.withheld.clear();
  if (!is_built(admission.run.environment)) return;
  auto kept = envs::keep_build_variables(admission.caller.variables);
  definition.build_variables = std::move(kept.values);
  definition.withheld = std::move(kept.withheld);
  if (admission.environment && !admission.environment->read.credentials.empty())
    definition.withheld.emplace_back(kFileOfPackages);
}

// Why a build may have failed whose caller is forgotten; empty: not for that.
std::string Pipeline::hint_of_lost_credentials(const RunRecord& run) const {
  if (build_settings_.with([&](const auto& all) { return all.contains(run.id); })) return {};
  const RunDefinition& definition = run.definition;
  const auto missing =
      envs::restore_build_variables(own_variables(), {definition.build_variables, definition.withheld}).missing;
  if (missing.empty()) return {};
  std::string names;
  for (const std::string& name : missing) names += (names.empty() ? "" : ", ") + name;
  return "the credentials in " + names + " are stored nowhere, and nobody knows them any more: submit again";
}

// What a build or a pull needs to know of who asked for it: here and nowhere else.
void Pipeline::remember_caller(const std::string& id, const Admission& admission) {
  if (is_prepared(admission.run)) return;
  envs::BuildSettings settings;
  settings.variables = admission.caller.variables;
  if (admission.environment) settings.credentials = admission.environment->read.credentials;
  build_settings_.with([&](auto& all) { all[id] = std::move(settings); });
}

envs::BuildSettings Pipeline::settings_of(const std::string& id) const {
  return build_settings_.with([&](const auto& all) {
    if (const auto at = all.find(id); at != all.end()) return at->second;
    // The daemon was started again since the run was submitted.
    const RunDefinition definition = history_.get(id).definition;
    envs::BuildSettings own;
    own.variables =
        envs::restore_build_variables(own_variables(), {definition.build_variables, definition.withheld}).variables;
    return own;
  });
}

bool Pipeline::is_prepared(const RunRecord& run) const {
  if (run.environment.kind == "image") return run.environment.image.has_value();
  return !is_built(run.environment) || run.environment.lock_digest.has_value();
}

// The run is acknowledged by its row: what goes wrong from here on is its end, not the submission's.
void Pipeline::wait_for_environment(const RunRecord& run) {
  try {
    await_environment(run);
  } catch (const Error& error) {
    end_unprepared(run.id, error, {});
  }
}

// Puts the run where it waits for its environment.
void Pipeline::await_environment(const RunRecord& run) {
  if (!is_built(run.environment)) return await_image(run);
  const auto stored = environments_.find(run.environment.digest);
  if (!stored) throw Error(ErrorCode::kInternal, "run " + run.id + ": its environment is not in the history");
  const envs::Specification specification = envs::specification_from_json(stored->specification);
  const auto images = images_of(specification);
  std::string ids;
  if (!images.empty() && !run.environment.lock_digest) {
    auto engine = containers_.engine(run.definition.engine_socket);
    const auto found = run.definition.pull_image ? std::nullopt : look_at_bases(images, engine);
    if (!found) return await_image(run);
    ids = found->ids;
  }
  await_build(run, specification, ids);
}

void Pipeline::await_build(const RunRecord& run, const envs::Specification& specification, const std::string& images) {
  BuildJob job{.lane = lane_of(run.environment.kind),
               .environment = run.environment.digest,
               .lock = run.environment.lock_digest,
               .fresh = run.definition.rebuild_environment && !run.environment.lock_digest,
               .base = specification.interpreter,
               .image = run.environment.image ? run.environment.image->id : images,
               .engine = run.definition.engine_socket};
  if (run.environment.kind == "dockerfile") job.image.clear();
  job.settings = settings_of(run.id);
  builds_->await(run.id, std::move(job));
  withdraw_cancelled(run.id);
}

// True once the run's environment is there and recorded as its own; false: it waits for it elsewhere and has no slot.
bool Pipeline::ensure_environment(RunRecord& run) {
  if (!is_built(run.environment)) return true;
  const bool chosen = run.environment.lock_digest.has_value();
  // Until it is known which build is the run's, only a fresh one will do for --rebuild and --pull.
  const bool fresh = !chosen && (run.definition.rebuild_environment || run.definition.pull_image);
  const auto build = prepared_->acquire({.environment = run.environment.digest,
                                         .engine = run.definition.engine_socket,
                                         .lock = run.environment.lock_digest,
                                         .not_before = fresh ? std::optional(run.created) : std::nullopt},
                                        run.id);
  if (build) {
    take_build(run.environment, *build);
    if (!chosen) history_.set_environment(run.id, run.environment);
    environments_.touch(build->id, utc_now());
    build_settings_.with([&](auto& all) { all.erase(run.id); });
    if (run.environment.interpreter.empty() && run.environment.kind != "dockerfile" &&
        std::filesystem::path(run.definition.script).extension() == ".py")
      throw EnvironmentFailed(Error(ErrorCode::kInvalid,
                                    "the environment has no Python to run " + run.definition.script,
                                    "add python to its dependencies"));
    add_environment_variables(run, *build);
    return true;
  }
  if (!run.definition.within.empty())
    throw EnvironmentFailed(Error(ErrorCode::kUnavailable, "its environment is not built any more",
                                  "a script has none built: submit any run with it from outside"));
  note_missing(run);
  scheduler_->release(run.id);  // first: while it holds something it cannot be queued again
  await_environment(run);
  return false;
}

// Once it is prepared again for a run that has found nothing at its start; who finds nothing twice would go round for
// ever.
void Pipeline::note_missing(const RunRecord& run) {
  if (missed_.with([&](auto& runs) { return runs.insert(run.id).second; })) return;
  const std::string what = run.definition.image.empty() || run.environment.kind != "image"
                               ? "the environment"
                               : "image " + run.definition.image;
  const std::string where =
      run.definition.engine_socket.empty() ? "" : " of the container engine at " + run.definition.engine_socket;
  throw EnvironmentFailed(Error(ErrorCode::kUnavailable,
                                what + where + " was prepared, but was gone again when the run started, twice",
                                "see what removes it, and submit again"));
}

// What activating the environment sets, below what the user says.
void Pipeline::add_environment_variables(RunRecord& run, const store::EnvironmentBuild& build) const {
  for (const auto& [name, value] : build.variables) run.definition.environment_variables.emplace(name, value);
  // A prefix has its own packages; an image's user may have some below his home.
  if (!build.directory.empty()) run.definition.environment_variables.emplace("PYTHONNOUSERSITE", "1");
}

// Of a run whose environment is there.
std::filesystem::path Pipeline::prefix_of(const RunRecord& run) const {
  const auto build = prepared_->find({.environment = run.environment.digest,
                                      .engine = run.definition.engine_socket,
                                      .lock = run.environment.lock_digest});
  if (!build)
    throw EnvironmentFailed(Error(ErrorCode::kUnavailable, "the environment was removed while the run was started",
                                  "submit again: it is built anew"));
  return prepared_->prefix_of(*build);
}

std::vector<Artifact> Pipeline::keep_build_log(const BuildEnd& end) {
  constexpr std::size_t kMost = std::size_t{64} << 20;
  if (end.directory.empty()) return {};
  const auto text = os::read_file_if_exists(prepared_->log_in(end.directory), kMost);
  if (!text) return {};
  const auto batch = content_.begin();
  std::vector<Artifact> artifacts{{.name = kBuildLog,
                                   .bytes = static_cast<std::int64_t>(text->size()),
                                   .sha256 = batch->put(std::as_bytes(std::span(*text)))}};
  batch->commit();
  return artifacts;
}

// The lane's thread.
void Pipeline::environment_ended(const BuildEnd& end) {
  const auto hold = content_.hold();
  std::vector<Artifact> log;
  try {
    log = keep_build_log(end);
  } catch (const Error& error) {
    spdlog::warn("the log of an environment's build is not kept: {}", error.message());
  }
  for (const std::string& id : end.runs) {
    try {
      if (end.error) {
        end_unprepared(id, *end.error, log);
        continue;
      }
      RunRecord run = history_.get(id);
      history_.add_artifacts(id, log);
      for (const std::string& warning : end.warnings) history_.add_notice(id, warning);
      go_on_with(run, *end.build);
    } catch (const Error& error) {
      end_unprepared(id, error, log);
    } catch (const std::exception& error) {
      end_unprepared(id, Error(ErrorCode::kInternal, error.what()), log);
    }
  }
  prepared_->settle(end);
}

void Pipeline::go_on_with(RunRecord& run, const store::EnvironmentBuild& build) {
  if (run.environment.lock_digest && *run.environment.lock_digest != build.lock && run.properties.contains(kRerunOf))
    throw Error(
        ErrorCode::kUnavailable,
        "the image that run " + run.properties.at(kRerunOf) + " ran in is gone, and its Dockerfile makes another now",
        "--rebuild takes the new one");
  run.environment.lock_digest.reset();
  take_build(run.environment, build);
  history_.set_environment(run.id, run.environment);
  if (!history_.set_status(run.id, RunStatus::kQueued, ""))
    return end_unstarted(run.id, OutcomeKind::kEnvironmentFailed, Error(ErrorCode::kInternal, "cancelled"));
  events_.notify(run.id);
  enqueue(run);
  withdraw_cancelled(run.id);
}

void Pipeline::end_unprepared(const std::string& id, const Error& error, const std::vector<Artifact>& log) {
  std::string hint;
  try {
    hint = hint_of_lost_credentials(history_.get(id));
    history_.add_artifacts(id, log);
  } catch (const Error& second) {
    spdlog::warn("run {}: the log of its environment's build is not kept: {}", id, second.message());
  }
  build_settings_.with([&](auto& all) { all.erase(id); });
  if (hint.empty()) hint = error.hint();
  if (hint.empty() && !log.empty()) hint = "runner logs --name " + std::string(kBuildLog) + " " + id;
  end_unstarted(id, OutcomeKind::kEnvironmentFailed, Error(error.code(), error.message(), hint));
}

std::filesystem::path Pipeline::live_build_log(const std::string& id) const {
  const auto directory = builds_->directory_for(id);
  return directory.empty() ? directory : prepared_->log_in(directory);
}

}  // namespace runner::pipeline
