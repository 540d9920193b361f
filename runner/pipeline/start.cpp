// The run has its slot: checkout → bundle or container → shim.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/os/unix_socket.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/secrets.hpp"
#include "runner/shim/init_protocol.hpp"
#include "runner/shim/records.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

// True if `path` lies in `directory` (or is it), by whole components.
bool is_within(const std::string& path, const std::string& directory) {
  return path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

}  // namespace

// Nothing ran. The run ends with what stood in the way, or as cancelled if that was asked for meanwhile.
void Pipeline::end_unstarted(const std::string& id, OutcomeKind kind, const Error& error) {
  try {
    const RunRecord run = history_.get(id);
    if (run.status == RunStatus::kCancelRequested) return end_cancelled(run);
    // A build's last words are several lines.
    end(run, Outcome{.kind = kind, .message = error.message().substr(0, error.message().find('\n'))},
        RunError{.code = kind == OutcomeKind::kStartFailed ? "SystemError" : "UserError",
                 .message = error.message(),
                 .hint = error.hint()},
        {});
  } catch (const Error& second) {
    spdlog::error("run {}: {}; its end could not be written: {}", id, error.message(), second.message());
    watch_->retry_ended(id, std::chrono::seconds{10});  // finish() finds no claim and queues it again
  }
}

void Pipeline::start(const std::string& id) {
  try {
    return start_or_throw(id);
  } catch (const EnvironmentFailed& failed) {
    end_unstarted(id, OutcomeKind::kEnvironmentFailed, failed.error);
  } catch (const Error& error) {
    end_unstarted(id, OutcomeKind::kStartFailed, error);
  } catch (const std::exception& error) {
    // What a library threw is no reason for the daemon to end, nor for this run to be tried for ever.
    end_unstarted(id, OutcomeKind::kStartFailed, Error(ErrorCode::kInternal, error.what()));
  }
  scheduler_->release(id);
}

void Pipeline::start_or_throw(const std::string& id) {
  RunRecord run = history_.get(id);
  if (is_final(run.status)) return scheduler_->release(id);
  if (!ensure_environment(run)) return;
  run.gpus = scheduler_->gpus_of(id);
  if (!run.gpus.empty()) history_.set_gpus(id, run.gpus);
  if (run.definition.isolation != Isolation::kDocker)
    prepare_sandbox(run);
  else if (!prepare_container(run))
    return;
  const os::Fd secrets = secrets_for(run);
  if (!history_.set_status(id, RunStatus::kStarting, "")) {  // cancelled while it was prepared
    end_cancelled(history_.get(id));
    return scheduler_->release(id);
  }
  launch(run, secrets);
  look_ahead();
}

// The run's until its directory is cleared away.
std::vector<std::filesystem::path> Pipeline::check_out(const RunRecord& run) {
  if (!checkouts_.ready(run.snapshot.value())) {
    history_.set_status(run.id, RunStatus::kPreparing, "checking out the snapshot");
    events_.notify(run.id);
  }
  try {
    return checkouts_.acquire(*run.snapshot, run.id);
  } catch (const Error& error) {
    // Something of the snapshot is missing: the next submit of these files must not take them for stored.
    if (error.code() == ErrorCode::kNotFound) content_.distrust_caches();
    throw;
  }
}

// Podman mounts no overlays: there a run has a copy of its own.
bool Pipeline::takes_layers(const RunRecord& run) const {
  return run.definition.isolation != Isolation::kDocker ||
         exec::EngineContainers::mounts_overlays(containers_.engine(run.definition.engine_socket).facts());
}

// The checkout thread: while the run waits for its slot or its image. What goes wrong here goes wrong once more when it
// starts, and is said then.
void Pipeline::check_out_ahead(const std::string& id) {
  try {
    const RunRecord run = history_.get(id);
    if (is_final(run.status) || !takes_layers(run)) return;
    // Not held for the run: until it starts, what is not needed now must be able to give room to what is.
    const std::string owner = "ahead of " + id;
    checkouts_.acquire(run.snapshot.value(), owner);
    checkouts_.release(owner);
  } catch (const std::exception& error) {
    spdlog::warn("run {}: no checkout ahead of its start: {}", id, error.what());
  }
}

// Of the runs that wait for a slot the next ones only: the cache has a limit.
void Pipeline::look_ahead() {
  constexpr std::size_t kAhead = 2;
  for (const std::string& id : scheduler_->held_up(kAhead)) ahead_->enqueue(id);
}

void Pipeline::prepare_sandbox(const RunRecord& run) {
  std::optional<envs::Interpreter> interpreter;
  try {
    if (!run.environment.interpreter.empty())
      interpreter = run.environment.kind == "interpreter"
                        ? interpreter_for(run.definition, run.environment.interpreter, {})
                        : probe_.resolve(run.environment.interpreter, {});
  } catch (const Error& error) {
    throw EnvironmentFailed(error);
  }
  auto layers = check_out(run);
  os::make_directories(data_.run(run.id).root());
  sandbox_.prepare(sandbox_run(run, interpreter, std::move(layers)));
}

// A memfd for runner-init: the run's token, and its secrets. What the daemon has lost of these by dying, the secrets
// file may still have.
os::Fd Pipeline::secrets_for(const RunRecord& run) {
  std::string packed;
  const auto pack = [&packed](const std::string& name, const std::string& value) {
    packed.append(name).append(1, '\0').append(std::to_string(value.size())).append(1, '\0').append(value);
  };
  pack(shim::kVariableMark + std::string(shim::kTokenVariable), tokens_.token_of({run.id, run.attempt}));
  if (run.definition.secrets.empty()) return os::sealed_memory("secrets", packed);
  auto values = secrets_.with([&](const auto& secrets) {
    const auto at = secrets.find(run.id);
    return at == secrets.end() ? std::map<std::string, std::string>() : at->second;
  });
  if (values.empty()) {
    try {
      values = find_secrets(run.definition.secrets, {}, default_secrets_file());
    } catch (const Error& error) {
      throw Error(ErrorCode::kUnavailable, "the daemon was restarted before the run started: " + error.message(),
                  "submit again, or keep the secret in the secrets file");
    }
  }
  for (const auto& [name, value] : values) pack(name, value);
  return os::sealed_memory("secrets", packed);
}

void Pipeline::launch(const RunRecord& run, const os::Fd& secrets) {
  const os::RunDirectory directory = data_.run(run.id);
  launches_.with([&](auto& launches) { ++launches[run.id]; });
  watch_->add(run.id, directory);
  stay_awake(run.id);
  os::Child child = run.definition.isolation == Isolation::kDocker ? containers_.launch(directory, secrets.get())
                                                                   : sandbox_.launch(directory, secrets.get());
  watch_->set_shim(run.id, std::move(child.pidfd));
}

std::optional<std::int64_t> Pipeline::log_limit_of(const RunDefinition& definition) const {
  return definition.max_log_bytes ? definition.max_log_bytes : configuration_.max_log_bytes;
}

exec::SandboxRun Pipeline::sandbox_run(const RunRecord& run, const std::optional<envs::Interpreter>& interpreter,
                                       std::vector<std::filesystem::path> layers) {
  const auto head = [&] { return frozen_head(content_, *run.snapshot, run.definition); };
  const std::string working_directory = working_directory_for(run.definition.source_directory, account_.home);
  exec::SandboxRun sandboxed{
      .id = run.id,
      .attempt = run.attempt,
      .directory = data_.run(run.id),
      .layers = std::move(layers),
      .working_directory = working_directory,
      .arguments = start_command(run.definition, run.environment.interpreter, head).arguments,
      .variables = script_variables(run, account_),
      .read_only_paths = {},
      .cache_paths = {},
      .mounts = run.definition.mounts,
      .home = account_.home,
      .api = data_.api(),
      .limits = enforced(run.definition),
  };
  sandboxed.limits.max_log_bytes = log_limit_of(run.definition);
  for (const exec::Gpu& gpu : gpus_of(run)) exec::add(sandboxed.devices, gpu.edits);
  for (const std::string& cache : configuration_.cache_directories)
    sandboxed.cache_paths.push_back(cache.starts_with('/') ? cache : account_.home + "/" + cache);
  if (run.environment.kind == "conda" && !interpreter) {  // programs without a Python
    const std::filesystem::path prefix = prefix_of(run);
    sandboxed.read_only_paths.push_back(prefix.string());
    std::string& path = sandboxed.variables["PATH"];
    path = (prefix / "bin").string() + ":" + path;
    sandboxed.variables.emplace("CONDA_PREFIX", prefix.string());
  }
  if (interpreter) {
    if (run.environment.kind == "interpreter" && interpreter->digest != run.environment.digest)
      history_.add_notice(run.id, "the interpreter changed between submit and start: " + interpreter->executable);
    sandboxed.read_only_paths = visible_paths(run, *interpreter, working_directory);
  }
  return sandboxed;
}

std::vector<std::string> Pipeline::visible_paths(const RunRecord& run, const envs::Interpreter& interpreter,
                                                 const std::string& working_directory) {
  std::vector<std::string> wanted = interpreter.prefixes;
  wanted.insert(wanted.end(), interpreter.search_path.begin(), interpreter.search_path.end());
  std::vector<std::string> visible;
  for (const std::string& path : wanted) {
    // A path that holds the whole home or our data would undo the isolation.
    if (is_within(account_.home, path) || is_within(data_.home().string(), path)) {
      history_.add_notice(run.id, "not visible in the run, since it contains the home directory: " + path);
      continue;
    }
    // What the snapshot holds is seen as it was at submit: an editable install must not reach around it.
    if (is_within(path, working_directory)) {
      const std::string inside =
          path.size() > working_directory.size() ? path.substr(working_directory.size() + 1) : "";
      if (inside.empty() || snapshot::find_entry(content_, *run.snapshot, inside)) continue;
    }
    visible.push_back(path);
  }
  return visible;
}

}  // namespace runner::pipeline
