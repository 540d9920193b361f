// A run in an image: what submit and start do differently from the sandbox.
#include <spdlog/spdlog.h>

#include <utility>

#include "envs/image.hpp"
#include "runner/core/error.hpp"
#include "runner/engine/endpoint.hpp"
#include "runner/engine/registry_credentials.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/base_images.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/shim/records.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

constexpr const char* kElsewhere = "/work";  // as working_directory_for()

void refuse_covered(const RunDefinition& definition, const std::string& working_directory) {
  if (definition.engine.tmpfs.contains(working_directory))
    throw Error(ErrorCode::kInvalid, "--tmpfs " + working_directory + ": it would hide the run's working directory",
                "choose another place");
  for (const Mount& mount : definition.mounts)
    if (mount.target == working_directory)
      throw Error(ErrorCode::kInvalid,
                  "--mount " + mount.source + ":" + mount.target + ": it would hide the run's working directory",
                  "choose another target");
}

}  // namespace

// The Engine that the caller means, if it can do what the run asks for.
engine::Engine Pipeline::require_engine(Admission& admission) const {
  RunDefinition& definition = admission.run.definition;
  refuse_covered(definition, working_directory_for(definition.source_directory, account_.home));
  definition.engine_socket = engine::find_engine(admission.caller.variables).string();
  engine::Engine engine = containers_.engine(definition.engine_socket);
  settle_limits(containers_.unenforceable(engine, definition), admission);
  containers_.refuse_impossible(engine, definition);
  return engine;
}

// At submit, which does not wait for a registry: an image that is not here yet is pulled on the preparer's thread.
// `made_here`: out of a Dockerfile; there is nothing to ask a registry for.
EnvironmentRef Pipeline::resolve_image(Admission& admission, bool made_here) const {
  engine::Engine engine = require_engine(admission);
  const RunDefinition& definition = admission.run.definition;
  EnvironmentRef environment;
  environment.name = definition.image;
  environment.kind = "image";
  environment.digest = envs::unresolved_image_digest(definition.image);
  if (made_here || definition.pull_image) return environment;
  if (const auto image = engine.inspect_image(definition.image)) {
    envs::require_platform(*image, definition.image, engine.facts());
    environment.image = envs::image_ref(*image, definition.image);
    environment.digest = envs::image_digest(*image);
  }
  return environment;
}

// The image of an earlier run, whatever its name means by now. One that is not here is pulled by its digest.
EnvironmentRef Pipeline::image_again(const RunRecord& original, Admission& admission) const {
  engine::Engine engine = require_engine(admission);
  const RunDefinition& definition = admission.run.definition;
  EnvironmentRef environment = original.environment;
  environment.interpreter.clear();  // found anew when it starts
  const ImageRef& recorded = environment.image.value();
  if (const auto image = engine.inspect_image(recorded.id))
    envs::require_platform(*image, definition.image, engine.facts());
  else if (recorded.digest.empty())
    throw Error(ErrorCode::kUnavailable,
                "the image of run " + original.id + ", " + definition.image + " (" + recorded.id.substr(0, 19) +
                    "), is no longer here, and no registry is known to have it",
                "build or import it again, or name another one: --image REF");
  return environment;
}

// Tells the run's followers how far it is.
void Pipeline::pull(engine::Engine& engine, const RunRecord& run, const std::string& source,
                    const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kBetweenLines{250};
  auto told = os::monotonic_now() - kBetweenLines;
  std::string last;
  const auto progress = [&](const std::string& line) {
    if (stop.stop_requested()) return false;
    const auto now = os::monotonic_now();
    if (now - told < kBetweenLines) return true;
    told = now;
    // False once the run waits for its cancellation.
    const bool wanted = history_.set_status(run.id, RunStatus::kPreparing,
                                            "pulling " + source + ": " + (line.empty() ? "asking the registry" : line));
    if (line != last) events_.notify(run.id);
    last = line;
    return wanted;
  };
  progress("");
  engine::RegistryCredentials logins(settings_of(run.id).variables);
  const std::string login = logins.auth_for(source);
  for (const std::string& warning : logins.warnings()) history_.add_notice(run.id, warning);
  engine.pull(source, progress, login);
}

// From a registry. By digest it is the same image again; a tag may mean another by now.
engine::Image Pipeline::pull_image(engine::Engine& engine, const RunRecord& run, const std::stop_token& stop) {
  const auto& recorded = run.environment.image;
  const std::string source = recorded ? recorded->digest : run.definition.image;
  if (source.empty())
    throw Error(ErrorCode::kNotFound,
                "image " + run.definition.image + " (" + recorded->id.substr(0, 19) +
                    ") was deleted after the run was submitted, and no registry is known to have it",
                "build or import it again and submit anew");
  pull(engine, run, source, stop);
  auto image = engine.inspect_image(recorded ? recorded->id : source);
  if (!image)
    throw Error(ErrorCode::kUnavailable, "image " + source + ": the registry's is not the one that was submitted",
                "submit anew to run what it has now");
  return std::move(*image);
}

void Pipeline::remember_image(RunRecord& run, const engine::Image& image, const engine::EngineFacts& facts) {
  envs::require_platform(image, run.definition.image, facts);
  if (run.environment.image) return;
  run.environment.image = envs::image_ref(image, run.definition.image);
  run.environment.digest = envs::image_digest(image);
  history_.set_environment(run.id, run.environment);
}

void Pipeline::await_image(const RunRecord& run) {
  history_.set_status(run.id, RunStatus::kPreparing, "waits for image " + run.definition.image);
  preparer_->enqueue(run.id);
  withdraw_cancelled(run.id);
}

// The images that an environment is built on; with their ids its identity is known.
void Pipeline::fetch_base_images(RunRecord& run, const std::stop_token& stop) {
  const auto stored = environments_.find(run.environment.digest);
  if (!stored) throw Error(ErrorCode::kInternal, "run " + run.id + ": its environment is not in the history");
  envs::Specification specification = envs::specification_from_json(stored->specification);
  engine::Engine engine = containers_.engine(run.definition.engine_socket);
  const std::vector<std::string> images = images_of(specification);
  for (const std::string& name : images) {
    auto image = run.definition.pull_image ? std::nullopt : engine.inspect_image(name);
    if (!image) {
      pull(engine, run, name, stop);
      image = engine.inspect_image(name);
    }
    if (!image) throw Error(ErrorCode::kUnavailable, "image " + name + ": the registry's is not here after the pull");
    if (specification.kind == envs::SpecificationKind::kCondaImage)
      run.environment.image = envs::image_ref(*image, name);
  }
  const auto bases = look_at_bases(images, engine);
  if (!bases) throw Error(ErrorCode::kUnavailable, "a base image was removed while the others were pulled");
  take_context(specification, *bases, run.definition.source_directory, data_.cache());
  envs::BuildBase base = envs::this_platform();
  base.base = bases->ids;
  const store::StoredEnvironment row = environment_row(specification, base);
  environments_.add(row);
  run.environment.digest = row.digest;
  history_.set_environment(run.id, run.environment);
  if (!run.definition.rebuild_environment)
    if (const auto build = prepared_->find({.environment = row.digest, .engine = run.definition.engine_socket}))
      return go_on_with(run, *build);
  await_build(run, specification, bases->ids);
}

// The preparer's thread.
void Pipeline::fetch_image(const std::string& id, const std::stop_token& stop) {
  const Awake awake(configuration_.keep_awake ? keep_awake_.get() : nullptr, "a pull");
  try {
    RunRecord run = history_.get(id);
    if (is_final(run.status)) return;
    ahead_->enqueue(id);  // while the registry is asked
    if (run.environment.kind != "image") return fetch_base_images(run, stop);
    engine::Engine engine = containers_.engine(run.definition.engine_socket);
    std::optional<engine::Image> there;
    if (run.environment.image || !run.definition.pull_image)
      there = engine.inspect_image(run.environment.image ? run.environment.image->id : run.definition.image);
    remember_image(run, there ? *there : pull_image(engine, run, stop), engine.facts());
    if (history_.set_status(id, RunStatus::kQueued, "")) {
      events_.notify(id);
      enqueue(run);
      return withdraw_cancelled(id);
    }
    end_unstarted(id, OutcomeKind::kEnvironmentFailed, Error(ErrorCode::kInternal, "cancelled"));
  } catch (const Error& error) {
    // A daemon that stops leaves the run as it is: the next one begins again.
    if (!stop.stop_requested()) end_unstarted(id, OutcomeKind::kEnvironmentFailed, error);
  } catch (const std::exception& error) {
    end_unstarted(id, OutcomeKind::kEnvironmentFailed, Error(ErrorCode::kInternal, error.what()));
  }
}

// False if the image is not there (any more): the run has given its slot back and waits for it.
bool Pipeline::prepare_container(RunRecord& run) {
  // A late shim of an earlier daemon has taken the run: its files are its own, and the shim we start will see the
  // claim.
  if (shim::read_claim(data_.run(run.id))) return true;
  history_.set_status(run.id, RunStatus::kPreparing, "asking the container engine");  // which may take its time
  std::optional<engine::Engine> engine;
  std::optional<engine::Image> image;
  try {
    engine.emplace(containers_.engine(run.definition.engine_socket));
    if (run.environment.image || !run.definition.pull_image)
      image = engine->inspect_image(run.environment.image ? run.environment.image->id : run.definition.image);
    if (image) remember_image(run, *image, engine->facts());
  } catch (const Error& error) {
    throw EnvironmentFailed(error);
  }
  if (!image) {
    note_missing(run);
    scheduler_->release(run.id);  // first: while it holds something it cannot be queued again
    await_image(run);
    return false;
  }
  // Podman mounts no overlays: it gets a copy of its own.
  const bool layered = exec::EngineContainers::mounts_overlays(engine->facts());
  auto layers = layered ? check_out(run) : std::vector<std::filesystem::path>();
  os::make_directories(data_.run(run.id).root());
  containers_.prepare(engine_run(run, *engine, *image, std::move(layers)), engine->facts());
  return true;
}

// A conda environment beside the image's own programs, at the path at which it was made.
void Pipeline::enter_prefix(const RunRecord& run, exec::EngineRun& wanted) const {
  const std::filesystem::path prefix = prefix_of(run);
  wanted.read_only_paths.push_back(prefix.string());
  if (!wanted.candidates.empty() && !run.environment.interpreter.empty())
    wanted.candidates = {run.environment.interpreter};
  std::string& path = wanted.variables["PATH"];
  path = (prefix / "bin").string() + ":" +
         (path.empty() ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" : path);
  wanted.variables.emplace("CONDA_PREFIX", prefix.string());
}

exec::EngineRun Pipeline::engine_run(const RunRecord& run, engine::Engine& engine, const engine::Image& image,
                                     std::vector<std::filesystem::path> layers) {
  const os::RunDirectory directory = data_.run(run.id);
  StartCommand command =
      start_command(run.definition, "", [&] { return frozen_head(content_, *run.snapshot, run.definition); });
  exec::ImageFacts facts = containers_.look_into(engine, image);
  exec::EngineRun wanted{
      .id = run.id,
      .attempt = run.attempt,
      .directory = directory,
      .layers = std::move(layers),
      .working_directory = working_directory_for(run.definition.source_directory, account_.home),
      .candidates = std::move(command.candidates),
      .arguments = std::move(command.arguments),
      .variables = script_variables(run, account_, facts.environment),
      .home = account_.home,
      .definition = enforced(run.definition),
      .image = std::move(facts),
  };
  wanted.definition.max_log_bytes = log_limit_of(run.definition);
  wanted.gpus = gpus_of(run);
  wanted.api = data_.api();
  if (run.environment.kind == "conda-image") enter_prefix(run, wanted);
  if (containers_.occupies(engine, image, wanted.working_directory)) {
    if (containers_.occupies(engine, image, kElsewhere))
      throw Error(ErrorCode::kInvalid,
                  "image " + run.definition.image + " has files of its own at " + wanted.working_directory +
                      " and at " + kElsewhere + ": there is no place for the working directory",
                  "submit from a directory with another path");
    history_.add_notice(run.id, "the working directory is " + std::string(kElsewhere) +
                                    ": the image has files of its own at " + wanted.working_directory);
    wanted.working_directory = kElsewhere;
    refuse_covered(run.definition, kElsewhere);
  }
  if (!exec::EngineContainers::mounts_overlays(engine.facts())) {
    history_.add_notice(run.id, "the container engine mounts no overlays: the working directory is a copy");
    os::remove_tree(directory.copy());
    snapshot::materialize(content_, *run.snapshot, directory.copy());
  }
  return wanted;
}

}  // namespace runner::pipeline
