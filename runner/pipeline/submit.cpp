// Submission → snapshot → git → environment → row.
#include <openssl/evp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <random>

#include "runner/core/error.hpp"
#include "runner/pipeline/admission.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/source_reading.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

// <experiment>_<unix seconds>_<8 hex> (spec/azure-ml-v1.md).
std::string new_run_id(const std::string& experiment, UtcTime now) {
  std::random_device entropy;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string tail(8, '0');
  std::uint32_t bits = entropy();
  for (char& c : tail) {
    c = kDigits[bits & 15];
    bits >>= 4;
  }
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  return experiment + "_" + std::to_string(seconds) + "_" + tail;
}

Hash sha256(const std::string& text) {
  Hash hash;
  std::size_t length = hash.bytes.size();
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, text.data(), text.size(), hash.bytes.data(), &length) != 1)
    throw Error(ErrorCode::kInternal, "SHA-256 is not available from libcrypto");
  return hash;
}

// The reason in one line: what a machine lacks explains what the runtimes say, so it goes first.
Error no_sandbox(const std::vector<exec::Check>& checks) {
  const std::string message = "sandbox: no OCI runtime works here";
  for (const bool of_the_machine : {true, false})
    for (const exec::Check& check : checks) {
      const bool machine = check.name == "user namespaces" || check.name == "overlay";
      if (!check.works && machine == of_the_machine)
        return Error(ErrorCode::kUnavailable, message + ": " + check.name + ": " + check.detail,
                     check.remedy + "; `runner doctor` tells more");
    }
  return Error(ErrorCode::kUnavailable, message,
               "`runner doctor` tells more; if all is well by now, `runner daemon stop` and try again");
}

}  // namespace

void require_script(const ContentReader& content, const Hash& snapshot, const RunDefinition& definition,
                    const snapshot::Options& options) {
  if (definition.script.empty()) return;
  const auto entry = snapshot::find_entry(content, snapshot, definition.script);
  if (!entry || entry->type == snapshot::EntryType::kDirectory) throw script_left_out(options, definition.script);
}

Error script_left_out(const snapshot::Options& options, const std::string& script) {
  const auto why = snapshot::explain(options, script);
  return Error(ErrorCode::kInvalid, "script " + script + ": not in the snapshot (" + why.reason + ")",
               "change the ignore file so that the script is included");
}

void Pipeline::require_sandbox(Admission& admission) const {
  const RunDefinition& definition = admission.run.definition;
  if (!sandbox_.runtime()) throw no_sandbox(sandbox_.checks());
  settle_limits(sandbox_.unenforceable(definition), admission);
  if (definition.mounts.empty()) return;
  sandbox_.refuse_impossible_mounts(
      {.id = "new",
       .directory = data_.run("new"),
       .layers = {},
       .working_directory = working_directory_for(definition.source_directory, account_.home),
       .arguments = {},
       .variables = {},
       .read_only_paths = {},
       .cache_paths = {},
       .mounts = definition.mounts,
       .home = account_.home,
       .limits = definition});
}

snapshot::Options Pipeline::snapshot_options(const std::string& source_directory) const {
  return {.source = source_directory,
          .data_directory = data_.home(),
          .stat_cache = data_.cache() / ("stat-" + sha256(source_directory).hex())};
}

std::optional<Pipeline::Submitted> Pipeline::find_repeated(const RunRecord& run) const {
  if (!run.idempotency_key) return std::nullopt;
  const auto existing = history_.find_by_key(*run.idempotency_key);
  if (!existing) return std::nullopt;
  if (existing->submission_digest != run.submission_digest)
    throw Error(ErrorCode::kConflict,
                "idempotency key '" + *run.idempotency_key + "' belongs to another submission: " + existing->id,
                "use a new key for a new submission");
  history_.make_durable();  // another thread may have written it just now
  return Submitted{.run = *existing, .existed = true, .warnings = {}};
}

// Everything that this machine can refuse before a file is read.
void Pipeline::resolve(Admission& admission) const {
  RunRecord& run = admission.run;
  if (run.parent) run.parent = history_.resolve(*run.parent);
  resolve_dependencies(run.definition);
  settle_gpus(run.definition);
  const bool built = admission.environment && needs_build(admission.environment->read.specification);
  if (run.definition.isolation == Isolation::kDocker) {
    const bool made_here =
        built && admission.environment->read.specification.kind == envs::SpecificationKind::kDockerfile;
    run.environment = resolve_image(admission, made_here);
  } else {
    require_sandbox(admission);
  }
  if (built)
    run.environment = resolve_prepared(admission);
  else if (run.definition.isolation != Isolation::kDocker)
    run.environment = resolve_interpreter(admission.python, admission);
  if (admission.environment && !admission.environment->name.empty()) {
    run.environment.name = admission.environment->name;
    run.environment.version = admission.environment->version;
  }
  // Fails now rather than after the run exists.
  start_command(run.definition, built && run.environment.interpreter.empty() ? "python" : run.environment.interpreter);
}

Pipeline::Submitted Pipeline::submit(const api::Submission& submission, const Notify& notify) {
  sandbox_.expect_run();
  Admission admission =
      admit(submission, default_secrets_file(), [this](const std::string& name) { return find_registered(name); });
  RunRecord& run = admission.run;
  run.submission_digest = sha256(submission.canonical);
  if (auto repeated = find_repeated(run)) return std::move(*repeated);
  history_.require_room();
  resolve(admission);

  const auto hold = content_.hold();  // until the row below names it, `gc` leaves what is frozen here alone
  SourceReading reading(run.definition.source_directory);
  const snapshot::Options options = snapshot_options(run.definition.source_directory);
  auto frozen = take_snapshot(run.definition.source_directory, notify);
  run.snapshot = frozen.id;
  require_script(content_, frozen.id, run.definition, options);
  run.properties["ContentSnapshotId"] = frozen.id.hex();

  std::vector<std::string> warnings = std::move(admission.notices);
  std::move(frozen.warnings.begin(), frozen.warnings.end(), std::back_inserter(warnings));
  if (const auto source = reading.finish(warnings)) {
    run.git = source->state;
    for (auto& [key, value] : git::properties_of(*run.git)) run.properties.insert_or_assign(key, value);
    admission.artifacts = store_change(*source, content_);
  }
  return accept(std::move(admission), std::move(warnings));
}

// The run's row, durably, and its place in the queue.
Pipeline::Submitted Pipeline::accept(Admission admission, std::vector<std::string> warnings,
                                     const std::optional<store::History::Asker>& asker) {
  RunRecord& run = admission.run;
  run.created = utc_now();
  run.id = new_run_id(run.experiment, run.created);
  if (run.name.empty()) run.name = run.id;
  run.status = RunStatus::kQueued;
  run.definition.machine = machine_facts_;
  keep_environment(admission);
  keep_caller(admission);
  // Before the run can start: a worker may be quicker than this thread.
  remember_caller(run.id, admission);
  if (!admission.secrets.empty()) secrets_.with([&](auto& secrets) { secrets[run.id] = std::move(admission.secrets); });
  const auto added = [&] {
    try {
      return history_.add_run(run, admission.artifacts, asker);
    } catch (const Error& error) {
      try {
        // Written, and not on the disk: it runs all the same, and the user is told.
        store::History::Added there{history_.get(run.id), false};
        warnings.push_back("a power cut could lose this run: " + error.message());
        return there;
      } catch (const Error&) {
        secrets_.with([&](auto& secrets) { secrets.erase(run.id); });
        throw Error(error);
      }
    }
  }();
  if (added.existed) secrets_.with([&](auto& secrets) { secrets.erase(run.id); });
  if (added.existed) return Submitted{.run = added.run, .existed = true, .warnings = {}};
  try {
    for (const std::string& warning : warnings) history_.add_notice(run.id, warning);
  } catch (const Error& error) {
    // The run is acknowledged by its row: it is not to wait for ever because a warning could not be written.
    spdlog::warn("run {}: its warnings are not recorded: {}", run.id, error.message());
  }
  if (is_prepared(run))
    enqueue(added.run);
  else
    wait_for_environment(run);
  look_ahead();
  return Submitted{.run = added.run, .existed = false, .warnings = std::move(warnings)};
}

}  // namespace runner::pipeline
