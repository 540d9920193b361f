#include "runner/shim/spec.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {
namespace {

using nlohmann::json;
constexpr int kVersion = 1;

template <class T>
void put(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}

template <class T>
std::optional<T> get(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return std::nullopt;
  return at->get<T>();
}

json to_json(const os::RunCgroups& cgroups) {
  json directories = json::object();
  for (const auto& [controller, directory] : cgroups.directories) directories[controller] = directory.string();
  json foreign = json::array();
  for (const auto& directory : cgroups.foreign) foreign.push_back(directory.string());
  return {{"version", cgroups.version}, {"directories", directories}, {"foreign", foreign}};
}

os::RunCgroups cgroups_from(const json& object) {
  os::RunCgroups cgroups;
  cgroups.version = whole_number<int>(object.at("version"));
  for (const auto& [controller, directory] : object.at("directories").items())
    cgroups.directories[controller] = directory.get<std::string>();
  for (const auto& directory : object.at("foreign")) cgroups.foreign.emplace_back(directory.get<std::string>());
  return cgroups;
}

}  // namespace

Spec read_spec(const os::RunDirectory& run) {
  try {
    const json object = json::parse(os::read_file(run.spec()));
    if (whole_number<int>(object.at("version")) != kVersion)
      throw Error(ErrorCode::kInternal, "written by another version");
    Spec spec;
    spec.run_id = object.at("runId").get<std::string>();
    spec.attempt = whole_number_or<int>(object, "attempt", 1);
    spec.runtime_command = object.at("runtimeCommand").get<std::vector<std::string>>();
    spec.engine = object.value("engine", false);
    spec.hide_cgroups = object.at("hideCgroups").get<bool>();
    spec.user_namespace = object.at("userNamespace").get<bool>();
    spec.join_cgroups = object.at("joinCgroups").get<bool>();
    spec.cgroups = cgroups_from(object.at("cgroups"));
    spec.warm_cgroups_file = object.value("warmCgroupsFile", "");
    const json& limits = object.at("limits");
    spec.limits.memory_bytes = get<std::int64_t>(limits, "memoryBytes");
    spec.limits.pids = get<std::int64_t>(limits, "pids");
    spec.limits.cpus = get<double>(limits, "cpus");
    if (const auto limit = get<std::int64_t>(object, "maxRunDurationMillis"))
      spec.max_run_duration = std::chrono::milliseconds{*limit};
    spec.grace = std::chrono::milliseconds{whole_number<std::int64_t>(object.at("graceMillis"))};
    spec.max_log_bytes = get<std::int64_t>(object, "maxLogBytes");
    spec.script_name = object.at("scriptName").get<std::string>();
    spec.candidates = object.value("candidates", std::vector<std::string>());
    spec.image = object.value("image", "");
    spec.secrets = object.value("secrets", false);
    return spec;
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kInternal, "read " + run.spec().string() + ": " + error.what());
  } catch (const Error& error) {
    throw Error(ErrorCode::kInternal, "read " + run.spec().string() + ": " + error.message());
  }
}

void write_spec(const os::RunDirectory& run, const Spec& spec) {
  json limits = json::object();
  put(limits, "memoryBytes", spec.limits.memory_bytes);
  put(limits, "pids", spec.limits.pids);
  put(limits, "cpus", spec.limits.cpus);
  json object{{"version", kVersion},
              {"runId", spec.run_id},
              {"attempt", spec.attempt},
              {"runtimeCommand", spec.runtime_command},
              {"engine", spec.engine},
              {"hideCgroups", spec.hide_cgroups},
              {"userNamespace", spec.user_namespace},
              {"joinCgroups", spec.join_cgroups},
              {"cgroups", to_json(spec.cgroups)},
              {"warmCgroupsFile", spec.warm_cgroups_file},
              {"limits", limits},
              {"graceMillis", spec.grace.count()},
              {"scriptName", spec.script_name},
              {"candidates", spec.candidates},
              {"image", spec.image},
              {"secrets", spec.secrets}};
  if (spec.max_run_duration) object["maxRunDurationMillis"] = spec.max_run_duration->count();
  put(object, "maxLogBytes", spec.max_log_bytes);
  // Argument vectors are bytes; what is not UTF-8 must not stop the run, and only messages show it.
  os::publish_file(run.spec(), object.dump(-1, ' ', false, json::error_handler_t::replace), os::Durability::kAtomic);
}

}  // namespace runner::shim
