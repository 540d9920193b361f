#include "store/record_json.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"

namespace runner::store {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json, std::string_view what) {
  try {
    return json.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::kInvalid, std::string(what) + " holds text that is not UTF-8");
  }
}

// Words for people, some of them other programs': what is not UTF-8 in them keeps no run from its end.
std::string dump_words(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

template <class Read>
auto parse(std::string_view text, std::string_view what, Read&& read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception&) {
    throw Error(ErrorCode::kInternal, "runner.db: " + std::string(what) + " of a run is damaged",
                "`runner fsck` says what is damaged");
  }
}

template <class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

template <class T>
void get(const Json& json, const char* key, T& value) {
  if (const auto found = json.find(key); found != json.end()) value = found->get<T>();
}

template <class T>
void get(const Json& json, const char* key, std::optional<T>& value) {
  if (const auto found = json.find(key); found != json.end() && !found->is_null()) value = found->get<T>();
}

Hash hash_at(const Json& json, const char* key) {
  return Hash::from_hex(json.value(key, std::string())).value_or(Hash{});
}

template <class T>
void put(Json& json, const char* key, const std::vector<T>& values) {
  if (!values.empty()) json[key] = values;
}

void put(Json& json, const char* key, const std::map<std::string, std::string>& values) {
  if (!values.empty()) json[key] = values;
}

// {"network", "hostname", "extraHosts": [], "dns": [], "dnsSearch": [], "dnsOptions": [], "labels": {},
//  "ulimits": [{"name", "soft", "hard"}], "tmpfs": {path: options}, "cpusetCpus", "cpuShares", "memoryReservation"}:
// only what was asked for.
Json engine_json(const EngineOptions& engine) {
  Json json = Json::object();
  put(json, "network", engine.network);
  put(json, "hostname", engine.hostname);
  put(json, "extraHosts", engine.extra_hosts);
  put(json, "dns", engine.dns);
  put(json, "dnsSearch", engine.dns_search);
  put(json, "dnsOptions", engine.dns_options);
  put(json, "labels", engine.labels);
  for (const EngineOptions::Ulimit& limit : engine.ulimits)
    json["ulimits"].push_back({{"name", limit.name}, {"soft", limit.soft}, {"hard", limit.hard}});
  put(json, "tmpfs", engine.tmpfs);
  put(json, "cpusetCpus", engine.cpuset_cpus);
  put(json, "cpuShares", engine.cpu_shares);
  put(json, "memoryReservation", engine.memory_reservation);
  return json;
}

Json machine_json(const MachineFacts& machine) {
  Json json = Json::object();
  put(json, "hostname", machine.hostname);
  put(json, "system", machine.system);
  put(json, "kernel", machine.kernel);
  put(json, "architecture", machine.architecture);
  put(json, "processor", machine.processor);
  json["cpus"] = machine.cpus;
  json["memoryBytes"] = machine.memory_bytes;
  put(json, "gpuDriver", machine.gpu_driver);
  return json;
}

MachineFacts machine_from(const Json& json) {
  MachineFacts machine;
  get(json, "hostname", machine.hostname);
  get(json, "system", machine.system);
  get(json, "kernel", machine.kernel);
  get(json, "architecture", machine.architecture);
  get(json, "processor", machine.processor);
  if (json.contains("cpus")) machine.cpus = whole_number<int>(json["cpus"]);
  if (json.contains("memoryBytes")) machine.memory_bytes = whole_number<std::int64_t>(json["memoryBytes"]);
  get(json, "gpuDriver", machine.gpu_driver);
  return machine;
}

EngineOptions engine_from(const Json& json) {
  EngineOptions engine;
  get(json, "network", engine.network);
  get(json, "hostname", engine.hostname);
  get(json, "extraHosts", engine.extra_hosts);
  get(json, "dns", engine.dns);
  get(json, "dnsSearch", engine.dns_search);
  get(json, "dnsOptions", engine.dns_options);
  get(json, "labels", engine.labels);
  for (const Json& limit : json.value("ulimits", Json::array())) {
    EngineOptions::Ulimit& added = engine.ulimits.emplace_back();
    get(limit, "name", added.name);
    get(limit, "soft", added.soft);
    get(limit, "hard", added.hard);
  }
  get(json, "tmpfs", engine.tmpfs);
  get(json, "cpusetCpus", engine.cpuset_cpus);
  get(json, "cpuShares", engine.cpu_shares);
  get(json, "memoryReservation", engine.memory_reservation);
  return engine;
}

}  // namespace

// {"script", "arguments": [], "command": [], "sourceDirectory", "config", "isolation", "maxRunDurationMs", "graceMs",
//  "cpus", "memoryBytes", "pids", "shmBytes", "maxLogBytes", "network", "mounts": [{"source", "target", "writable"}],
//  "environmentVariables": {}, "callerVariables": {}, "image", "imageInterpreter", "engineSocket", "engine": {},
//  "secrets": [names], "after": {run: "ok"|"any"}, "buildVariables": {}, "withheld": [names], "rebuildEnvironment",
//  "pullImage", "within", "gpus": {"count", "ids": []}, "bestEffortLimits", "unenforced": [options],
//  "requeue", "machine": {"hostname", "system", "kernel", "architecture", "processor", "cpus", "memoryBytes",
//  "gpuDriver"}}
std::string to_json(const RunDefinition& definition) {
  Json json = Json::object();
  put(json, "script", definition.script);
  json["arguments"] = definition.arguments;
  if (!definition.command.empty()) json["command"] = definition.command;
  json["sourceDirectory"] = definition.source_directory;
  put(json, "config", definition.config_name);
  json["isolation"] = to_string(definition.isolation);
  if (definition.max_run_duration) json["maxRunDurationMs"] = definition.max_run_duration->count();
  json["graceMs"] = definition.grace.count();
  put(json, "cpus", definition.cpus);
  put(json, "memoryBytes", definition.memory_bytes);
  put(json, "pids", definition.pids);
  put(json, "shmBytes", definition.shm_bytes);
  put(json, "maxLogBytes", definition.max_log_bytes);
  if (const auto& gpus = definition.gpus) {
    json["gpus"] = Json::object();
    put(json["gpus"], "count", gpus->count);
    put(json["gpus"], "ids", gpus->ids);
  }
  if (definition.best_effort_limits) json["bestEffortLimits"] = true;
  if (definition.requeue) json["requeue"] = true;
  put(json, "unenforced", definition.unenforced);
  json["network"] = definition.network;
  for (const Mount& mount : definition.mounts)
    json["mounts"].push_back({{"source", mount.source}, {"target", mount.target}, {"writable", mount.writable}});
  put(json, "environmentVariables", definition.environment_variables);
  put(json, "callerVariables", definition.caller_variables);
  put(json, "image", definition.image);
  put(json, "imageInterpreter", definition.image_interpreter);
  put(json, "engineSocket", definition.engine_socket);
  if (Json engine = engine_json(definition.engine); !engine.empty()) json["engine"] = std::move(engine);
  put(json, "secrets", definition.secrets);
  for (const auto& [run, end] : definition.after) json["after"][run] = to_string(end);
  put(json, "buildVariables", definition.build_variables);
  put(json, "withheld", definition.withheld);
  if (definition.rebuild_environment) json["rebuildEnvironment"] = true;
  if (definition.pull_image) json["pullImage"] = true;
  put(json, "within", definition.within);
  if (definition.machine) json["machine"] = machine_json(*definition.machine);
  return dump(json, "the run definition");
}

RunDefinition definition_from_json(std::string_view text) {
  return parse(text, "the definition", [](const Json& json) {
    RunDefinition definition;
    get(json, "script", definition.script);
    get(json, "arguments", definition.arguments);
    get(json, "command", definition.command);
    get(json, "sourceDirectory", definition.source_directory);
    get(json, "config", definition.config_name);
    definition.isolation = isolation_from(json.value("isolation", std::string())).value_or(Isolation::kSandbox);
    if (json.contains("maxRunDurationMs"))
      definition.max_run_duration = std::chrono::milliseconds(whole_number<std::int64_t>(json["maxRunDurationMs"]));
    if (json.contains("graceMs"))
      definition.grace = std::chrono::milliseconds(whole_number<std::int64_t>(json["graceMs"]));
    get(json, "cpus", definition.cpus);
    get(json, "memoryBytes", definition.memory_bytes);
    get(json, "pids", definition.pids);
    get(json, "shmBytes", definition.shm_bytes);
    get(json, "maxLogBytes", definition.max_log_bytes);
    if (const auto gpus = json.find("gpus"); gpus != json.end()) {
      GpuRequest& request = definition.gpus.emplace();
      get(*gpus, "count", request.count);
      get(*gpus, "ids", request.ids);
    }
    get(json, "bestEffortLimits", definition.best_effort_limits);
    get(json, "requeue", definition.requeue);
    get(json, "unenforced", definition.unenforced);
    get(json, "network", definition.network);
    for (const Json& mount : json.value("mounts", Json::array())) {
      Mount& added = definition.mounts.emplace_back();
      get(mount, "source", added.source);
      get(mount, "target", added.target);
      get(mount, "writable", added.writable);
    }
    get(json, "environmentVariables", definition.environment_variables);
    get(json, "callerVariables", definition.caller_variables);
    get(json, "image", definition.image);
    get(json, "imageInterpreter", definition.image_interpreter);
    get(json, "engineSocket", definition.engine_socket);
    if (json.contains("engine")) definition.engine = engine_from(json["engine"]);
    get(json, "secrets", definition.secrets);
    if (json.contains("after"))
      for (const auto& [run, end] : json["after"].items())
        definition.after.emplace(run, end == to_string(AfterEnd::kAny) ? AfterEnd::kAny : AfterEnd::kSuccess);
    get(json, "buildVariables", definition.build_variables);
    get(json, "withheld", definition.withheld);
    get(json, "within", definition.within);
    get(json, "rebuildEnvironment", definition.rebuild_environment);
    get(json, "pullImage", definition.pull_image);
    if (json.contains("machine")) definition.machine = machine_from(json["machine"]);
    return definition;
  });
}

// {"repositoryUri", "branch", "commit", "dirty"}
std::string to_json(const GitState& git) {
  Json json = Json::object();
  put(json, "repositoryUri", git.repository_uri);
  put(json, "branch", git.branch);
  put(json, "commit", git.commit);
  json["dirty"] = git.dirty;
  return dump(json, "the git state");
}

GitState git_from_json(std::string_view text) {
  return parse(text, "the git state", [](const Json& json) {
    GitState git;
    get(json, "repositoryUri", git.repository_uri);
    get(json, "branch", git.branch);
    get(json, "commit", git.commit);
    get(json, "dirty", git.dirty);
    return git;
  });
}

// {"name", "version", "kind", "digest", "lockDigest", "interpreter", "pythonVersion", "image": {"id", "digest",
//  "platform"}}
std::string to_json(const EnvironmentRef& environment) {
  Json json = Json::object();
  put(json, "name", environment.name);
  put(json, "version", environment.version);
  put(json, "kind", environment.kind);
  json["digest"] = environment.digest.hex();
  if (environment.lock_digest) json["lockDigest"] = environment.lock_digest->hex();
  put(json, "interpreter", environment.interpreter);
  put(json, "pythonVersion", environment.python_version);
  if (const auto& image = environment.image) {
    Json& object = json["image"] = Json::object();
    put(object, "id", image->id);
    put(object, "digest", image->digest);
    put(object, "platform", image->platform);
  }
  return dump(json, "the environment");
}

EnvironmentRef environment_from_json(std::string_view text) {
  return parse(text, "the environment", [](const Json& json) {
    EnvironmentRef environment;
    get(json, "name", environment.name);
    get(json, "version", environment.version);
    get(json, "kind", environment.kind);
    environment.digest = hash_at(json, "digest");
    if (json.contains("lockDigest")) environment.lock_digest = hash_at(json, "lockDigest");
    get(json, "interpreter", environment.interpreter);
    get(json, "pythonVersion", environment.python_version);
    if (const auto image = json.find("image"); image != json.end() && image->is_object()) {
      ImageRef& ref = environment.image.emplace();
      get(*image, "id", ref.id);
      get(*image, "digest", ref.digest);
      get(*image, "platform", ref.platform);
    }
    return environment;
  });
}

// {"kind", "exitCode", "signal", "peakMemoryBytes", "meanMemoryBytes", "cpuSeconds", "peakCpus", "meanCpus",
// "readBytes",
//  "writtenBytes", "message"}
std::string to_json(const Outcome& outcome) {
  Json json = Json::object();
  json["kind"] = to_string(outcome.kind);
  put(json, "exitCode", outcome.exit_code);
  put(json, "signal", outcome.signal);
  put(json, "peakMemoryBytes", outcome.usage.peak_memory_bytes);
  put(json, "meanMemoryBytes", outcome.usage.mean_memory_bytes);
  put(json, "cpuSeconds", outcome.usage.cpu_seconds);
  put(json, "peakCpus", outcome.usage.peak_cpus);
  put(json, "meanCpus", outcome.usage.mean_cpus);
  put(json, "readBytes", outcome.usage.read_bytes);
  put(json, "writtenBytes", outcome.usage.written_bytes);
  put(json, "message", outcome.message);
  return dump_words(json);
}

Outcome outcome_from_json(std::string_view text) {
  return parse(text, "the outcome", [](const Json& json) {
    Outcome outcome;
    outcome.kind = outcome_kind_from(json.value("kind", std::string())).value_or(OutcomeKind::kLost);
    get(json, "exitCode", outcome.exit_code);
    get(json, "signal", outcome.signal);
    get(json, "peakMemoryBytes", outcome.usage.peak_memory_bytes);
    get(json, "meanMemoryBytes", outcome.usage.mean_memory_bytes);
    get(json, "cpuSeconds", outcome.usage.cpu_seconds);
    get(json, "peakCpus", outcome.usage.peak_cpus);
    get(json, "meanCpus", outcome.usage.mean_cpus);
    get(json, "readBytes", outcome.usage.read_bytes);
    get(json, "writtenBytes", outcome.usage.written_bytes);
    get(json, "message", outcome.message);
    return outcome;
  });
}

// {"code", "message", "hint"}
std::string to_json(const RunError& error) {
  Json json = Json::object();
  json["code"] = error.code;
  json["message"] = error.message;
  put(json, "hint", error.hint);
  return dump_words(json);
}

RunError error_from_json(std::string_view text) {
  return parse(text, "the error", [](const Json& json) {
    RunError error;
    get(json, "code", error.code);
    get(json, "message", error.message);
    get(json, "hint", error.hint);
    return error;
  });
}

std::string to_json(const std::map<std::string, std::string>& variables) {
  Json json = Json::object();
  for (const auto& [name, value] : variables) json[name] = value;
  return dump(json, "the environment's variables");
}

std::map<std::string, std::string> variables_from_json(std::string_view text) {
  return parse(text, "the environment's variables",
               [](const Json& json) { return json.get<std::map<std::string, std::string>>(); });
}

std::string to_json(const std::vector<std::string>& names) { return dump(Json(names), "a list of names"); }

std::vector<std::string> names_from_json(std::string_view text) {
  return parse(text, "a list of names", [](const Json& json) { return json.get<std::vector<std::string>>(); });
}

}  // namespace runner::store
