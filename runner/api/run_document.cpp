#include "runner/api/run_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {
namespace {

using nlohmann::ordered_json;

template <class T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json time_or_null(const std::optional<UtcTime>& time) {
  return time ? ordered_json(to_iso8601(*time)) : ordered_json(nullptr);
}

// Only what was asked for; everything else is the Engine's default.
ordered_json engine_of(const EngineOptions& engine) {
  ordered_json object = ordered_json::object();
  const auto put = [&object](const char* key, const auto& value) {
    if (!value.empty()) object[key] = value;
  };
  put("network", engine.network);
  put("hostname", engine.hostname);
  put("extraHosts", engine.extra_hosts);
  put("dns", engine.dns);
  put("dnsSearch", engine.dns_search);
  put("dnsOptions", engine.dns_options);
  put("labels", engine.labels);
  for (const EngineOptions::Ulimit& limit : engine.ulimits)
    object["ulimits"].push_back({{"name", limit.name}, {"soft", limit.soft}, {"hard", limit.hard}});
  put("tmpfs", engine.tmpfs);
  put("cpusetCpus", engine.cpuset_cpus);
  if (engine.cpu_shares) object["cpuShares"] = *engine.cpu_shares;
  if (engine.memory_reservation) object["memoryReservationBytes"] = *engine.memory_reservation;
  return object;
}

// As --gpus takes it; null: not given.
ordered_json gpus_text(const std::optional<GpuRequest>& gpus) {
  if (!gpus) return nullptr;
  if (gpus->count) return *gpus->count == 0 ? "none" : std::to_string(*gpus->count);
  if (gpus->ids.empty()) return "all";
  std::string text;
  for (const std::string& id : gpus->ids) text += (text.empty() ? "device=" : ",") + id;
  return text;
}

ordered_json definition_of(const RunDefinition& definition) {
  ordered_json object;
  object["script"] = definition.script.empty() ? ordered_json(nullptr) : ordered_json(definition.script);
  object["arguments"] = definition.arguments;
  object["command"] = definition.command.empty() ? ordered_json(nullptr) : ordered_json(definition.command);
  object["sourceDirectory"] = definition.source_directory;
  object["config"] = definition.config_name.empty() ? ordered_json(nullptr) : ordered_json(definition.config_name);
  object["maxRunDurationSeconds"] = nullptr;
  if (const auto& limit = definition.max_run_duration) {
    if (limit->count() % 1000 == 0)
      object["maxRunDurationSeconds"] = limit->count() / 1000;
    else
      object["maxRunDurationSeconds"] = static_cast<double>(limit->count()) / 1000;
  }
  object["graceSeconds"] = static_cast<double>(definition.grace.count()) / 1000;
  object["cpus"] = or_null(definition.cpus);
  object["memoryBytes"] = or_null(definition.memory_bytes);
  object["pids"] = or_null(definition.pids);
  object["shmBytes"] = or_null(definition.shm_bytes);
  object["maxLogBytes"] = or_null(definition.max_log_bytes);
  object["gpus"] = gpus_text(definition.gpus);
  object["bestEffortLimits"] = definition.best_effort_limits;
  object["limitsNotEnforced"] = definition.unenforced;
  object["requeue"] = definition.requeue;
  object["network"] = definition.network ? "on" : "off";
  ordered_json mounts = ordered_json::array();
  for (const Mount& mount : definition.mounts)
    mounts.push_back({{"source", mount.source}, {"target", mount.target}, {"writable", mount.writable}});
  object["mounts"] = std::move(mounts);
  object["environmentVariables"] = ordered_json(definition.environment_variables);
  if (definition.environment_variables.empty()) object["environmentVariables"] = ordered_json::object();
  object["image"] = text_or_null(definition.image);
  object["imageInterpreter"] = text_or_null(definition.image_interpreter);
  object["secrets"] = definition.secrets;
  object["engine"] = engine_of(definition.engine);
  object["after"] = ordered_json::object();
  for (const auto& [run, end] : definition.after) object["after"][run] = to_string(end);
  return object;
}

ordered_json git_of(const std::optional<GitState>& git) {
  if (!git) return nullptr;
  return {{"commit", or_null(git->commit)},
          {"branch", or_null(git->branch)},
          {"dirty", git->dirty},
          {"remote", or_null(git->repository_uri)}};
}

ordered_json artifact_of(const Artifact& artifact) {
  return {{"name", artifact.name}, {"bytes", artifact.bytes}, {"sha256", artifact.sha256.hex()}};
}

// The stored uncommitted change: what the pipeline keeps with the run at submit.
void append_change(ordered_json& git, std::span<const Artifact> artifacts) {
  git["patch"] = nullptr;
  git["untrackedFiles"] = nullptr;
  for (const Artifact& artifact : artifacts) {
    if (artifact.name == "git/diff.patch") git["patch"] = artifact_of(artifact);
    if (artifact.name == "git/untracked.txt") git["untrackedFiles"] = artifact_of(artifact);
  }
}

ordered_json image_of(const std::optional<ImageRef>& image) {
  if (!image) return nullptr;
  return {{"id", image->id}, {"digest", text_or_null(image->digest)}, {"platform", image->platform}};
}

ordered_json environment_of(const EnvironmentRef& environment) {
  return {
      {"name", environment.name},
      {"version", text_or_null(environment.version)},
      {"kind", environment.kind},
      {"digest", environment.digest.hex()},
      {"lockDigest", environment.lock_digest ? ordered_json(environment.lock_digest->hex()) : ordered_json(nullptr)},
      {"interpreter", text_or_null(environment.interpreter)},
      {"pythonVersion", text_or_null(environment.python_version)},
      {"image", image_of(environment.image)}};
}

ordered_json usage_of(const ResourceUsage& usage) {
  return {{"peakMemoryBytes", or_null(usage.peak_memory_bytes)},
          {"meanMemoryBytes", or_null(usage.mean_memory_bytes)},
          {"cpuSeconds", or_null(usage.cpu_seconds)},
          {"peakCpus", or_null(usage.peak_cpus)},
          {"meanCpus", or_null(usage.mean_cpus)},
          {"readBytes", or_null(usage.read_bytes)},
          {"writtenBytes", or_null(usage.written_bytes)}};
}

ordered_json outcome_of(const std::optional<Outcome>& outcome) {
  if (!outcome) return nullptr;
  ordered_json object{{"kind", to_string(outcome->kind)},
                      {"exitCode", or_null(outcome->exit_code)},
                      {"signal", or_null(outcome->signal)}};
  object.update(usage_of(outcome->usage));
  object["message"] = outcome->message;
  return object;
}

ordered_json error_of(const std::optional<RunError>& error) {
  if (!error) return nullptr;
  return {{"code", error->code},
          {"message", error->message},
          {"hint", error->hint.empty() ? ordered_json(nullptr) : ordered_json(error->hint)}};
}

ordered_json machine_of(const std::optional<MachineFacts>& machine) {
  if (!machine) return nullptr;
  return {{"hostname", text_or_null(machine->hostname)},
          {"system", text_or_null(machine->system)},
          {"kernel", text_or_null(machine->kernel)},
          {"architecture", text_or_null(machine->architecture)},
          {"processor", text_or_null(machine->processor)},
          {"cpus", machine->cpus > 0 ? ordered_json(machine->cpus) : ordered_json(nullptr)},
          {"memoryBytes", machine->memory_bytes > 0 ? ordered_json(machine->memory_bytes) : ordered_json(nullptr)},
          {"gpuDriver", text_or_null(machine->gpu_driver)}};
}

// What a list item and the whole document share.
ordered_json summary_of(const RunRecord& run) {
  ordered_json document;
  document["runId"] = run.id;
  document["kind"] = to_string(run.kind);
  document["experiment"] = run.experiment;
  document["name"] = run.name;
  document["status"] = to_string(run.status);
  document["statusReason"] = run.status_reason;
  document["createdTimeUtc"] = to_iso8601(run.created);
  document["startTimeUtc"] = time_or_null(run.started);
  document["endTimeUtc"] = time_or_null(run.ended);
  document["durationSeconds"] = nullptr;
  if (run.started) {
    const auto until = run.ended.value_or(utc_now());
    document["durationSeconds"] = static_cast<double>((until - *run.started).count()) / 1e6;
  }
  document["attempt"] = run.attempt;
  document["earlierAttempts"] = ordered_json::array();
  for (const Attempt& attempt : run.earlier_attempts)
    document["earlierAttempts"].push_back({{"attempt", attempt.number},
                                           {"startTimeUtc", time_or_null(attempt.started)},
                                           {"endTimeUtc", to_iso8601(attempt.ended)},
                                           {"reason", attempt.reason}});
  document["gpus"] = run.gpus;
  document["priority"] = run.queue.priority;
  document["parentRunId"] = or_null(run.parent);
  document["snapshotId"] = run.snapshot ? ordered_json(run.snapshot->hex()) : ordered_json(nullptr);
  document["tags"] = ordered_json::object();
  for (const auto& [key, value] : run.tags) document["tags"][key] = or_null(value);
  document["properties"] = ordered_json::object();
  for (const auto& [key, value] : run.properties) document["properties"][key] = value;
  return document;
}

void append_facts(ordered_json& document, const RunRecord& run) {
  document["git"] = git_of(run.git);
  document["environment"] = environment_of(run.environment);
  document["isolation"] = to_string(run.definition.isolation);
  document["outcome"] = outcome_of(run.outcome);
  document["error"] = error_of(run.error);
  document["runDefinition"] = definition_of(run.definition);
}

std::string list_document(ordered_json items, std::span<const std::string> warnings = {},
                          const std::optional<std::string>& next = {}) {
  ordered_json document;
  document["items"] = std::move(items);
  document["nextToken"] = or_null(next);
  if (!warnings.empty()) document["warnings"] = warnings;
  return dump(document);
}

}  // namespace

std::string run_document(const RunRecord& run, const RunDetails& details) {
  ordered_json document = summary_of(run);
  std::vector<std::string> thinned_names;
  document["metrics"] = metrics_object(details.metrics, thinned_names);
  if (!thinned_names.empty()) document["metricsThinned"] = std::move(thinned_names);
  ordered_json outputs = ordered_json::array();
  ordered_json logs = ordered_json::array();
  if (details.log_exists) logs.push_back("user_logs/std_log.txt");
  for (const Artifact& artifact : details.artifacts) {
    if (artifact.name.starts_with("outputs/"))
      outputs.push_back(artifact_of(artifact));
    else if (!artifact.name.starts_with("git/") && !artifact.name.starts_with("attempts/"))  // said in `git`, below
      logs.push_back(artifact.name);
  }
  document["outputs"] = std::move(outputs);
  document["logFiles"] = std::move(logs);
  for (ordered_json& attempt : document["earlierAttempts"]) {
    attempt["files"] = ordered_json::array();
    const std::string place = "attempts/" + std::to_string(attempt["attempt"].get<int>()) + "/";
    for (const Artifact& artifact : details.artifacts)
      if (artifact.name.starts_with(place)) attempt["files"].push_back(artifact_of(artifact));
  }
  append_facts(document, run);
  document["parameters"] = ordered_json::object();
  for (const auto& [key, value] : details.parameters) document["parameters"][key] = value;
  document["machine"] = machine_of(run.definition.machine);
  if (run.git) append_change(document["git"], details.artifacts);
  document["usage"] = details.usage_so_far ? usage_of(*details.usage_so_far) : ordered_json(nullptr);
  document["notices"] = details.notices;
  return dump(document);
}

std::string planned_run_document(const RunRecord& run) {
  ordered_json document = summary_of(run);
  append_facts(document, run);
  for (const char* later : {"runId", "kind", "status", "statusReason", "createdTimeUtc", "startTimeUtc", "endTimeUtc",
                            "durationSeconds", "attempt", "earlierAttempts", "gpus", "snapshotId", "outcome", "error"})
    document.erase(later);
  return dump(document);
}

std::string run_list_document(std::span<const ListedRun> runs, std::span<const std::string> warnings,
                              const std::optional<std::string>& next) {
  ordered_json items = ordered_json::array();
  for (const ListedRun& listed : runs) {
    ordered_json document = summary_of(listed.run);
    document["metrics"] = last_metrics_object(listed.last_metrics);
    append_facts(document, listed.run);
    items.push_back(std::move(document));
  }
  return list_document(std::move(items), warnings, next);
}

std::string artifact_list_document(std::span<const Artifact> artifacts) {
  ordered_json items = ordered_json::array();
  for (const Artifact& artifact : artifacts) items.push_back(artifact_of(artifact));
  return list_document(std::move(items));
}

std::string name_list_document(std::span<const std::string> names) {
  ordered_json items = ordered_json::array();
  for (const std::string& name : names) items.push_back({{"name", name}});
  return list_document(std::move(items));
}

std::string check_list_document(std::span<const CheckRow> rows) {
  ordered_json items = ordered_json::array();
  for (const CheckRow& row : rows)
    items.push_back({{"name", row.name}, {"works", row.works}, {"detail", row.detail}, {"remedy", row.remedy}});
  return list_document(std::move(items));
}

std::string daemon_document(const DaemonFacts& facts) {
  ordered_json document{{"pid", facts.pid},
                        {"home", facts.home},
                        {"socket", facts.socket},
                        {"version", facts.version},
                        {"startedTimeUtc", to_iso8601(facts.started)}};
  return dump(document);
}

}  // namespace runner::api
