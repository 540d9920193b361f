#include "runner/cli/submission.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

extern char** environ;

namespace runner::cli {
namespace {

using nlohmann::json;

// What finds the interpreter as the caller's shell would, the Engine as the caller's docker would, and the locale
// (DESIGN.md: nothing else of the caller's passes).
bool is_for_the_daemon(std::string_view name) {
  constexpr std::array<std::string_view, 9> kNames{"DOCKER_HOST",  "XDG_RUNTIME_DIR",   "PATH", "HOME", "VIRTUAL_ENV",
                                                   "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LANG", "TZ"};
  constexpr std::array<std::string_view, 8> kFamilies{"PYENV_", "LC_",    "PIP_",     "UV_",
                                                      "CONDA_", "MAMBA_", "RATTLER_", "SSL_CERT_"};
  constexpr std::array<std::string_view, 10> kForBuilds{"HTTP_PROXY",    "HTTPS_PROXY",   "NO_PROXY", "ALL_PROXY",
                                                        "http_proxy",    "https_proxy",   "no_proxy", "all_proxy",
                                                        "DOCKER_CONFIG", "XDG_CACHE_HOME"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         std::find(kForBuilds.begin(), kForBuilds.end(), name) != kForBuilds.end() || name == "REQUESTS_CA_BUNDLE" ||
         name == "NETRC" || std::any_of(kFamilies.begin(), kFamilies.end(), [&](std::string_view family) {
           return name.starts_with(family);
         });
}

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(json(text).dump());
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

template <class T>
void set(json& document, const char* key, const std::optional<T>& value) {
  if (value) document[key] = *value;
}

json run_variables(const SubmitOptions& options, const Caller& caller) {
  json variables = json::object();
  for (const auto& [name, value] : options.environment_variables) {
    if (value) {
      variables[name] = *value;
      continue;
    }
    const auto own = caller.variables.find(name);
    if (own == caller.variables.end())
      throw Error(ErrorCode::kInvalid, "--env-var " + name + ": it is not set here",
                  "set it, or give a value: -E " + name + "=…");
    variables[name] = own->second;
  }
  return variables;
}

// Those that are set here. The daemon's secrets file may have the others, and says what is missing.
json caller_secrets(const SubmitOptions& options, const Caller& caller) {
  json secrets = json::object();
  for (const std::string& name : options.secrets) {
    const auto own = caller.variables.find(name);
    if (own == caller.variables.end()) continue;
    if (!is_utf8(own->second))
      throw Error(ErrorCode::kInvalid, "--secret " + name + ": its value here is not UTF-8",
                  "unset it, and mount the file that holds it: --mount SRC:DST");
    secrets[name] = own->second;
  }
  return secrets;
}

}  // namespace

Caller this_caller() {
  Caller caller{.directory = std::filesystem::current_path(), .variables = {}};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals != std::string_view::npos && equals > 0)
      caller.variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return caller;
}

std::string absolute_directory(const std::filesystem::path& base, const std::string& directory) {
  std::string absolute = (base / directory).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  if (!is_utf8(absolute))
    throw Error(ErrorCode::kInvalid, "directory " + directory + ": its name is not UTF-8", "rename the directory");
  return absolute;
}

namespace {

// ${NAME} in a file of requirements or a conda environment means the caller's variable, as with pip: credentials are
// kept out of files so.
std::set<std::string> variables_named_in(const SubmitOptions& options, const Caller& caller) {
  constexpr std::size_t kMost = 1 << 20;
  std::set<std::string> names;
  for (const auto& file : {options.requirements, options.conda}) {
    if (!file) continue;
    std::string text;
    try {
      text = os::read_file(caller.directory / *file, kMost);
    } catch (const Error&) {
      continue;  // the daemon says what is wrong with it
    }
    for (auto at = text.find("${"); at != std::string::npos; at = text.find("${", at + 2))
      if (const auto end = text.find('}', at); end != std::string::npos)
        names.insert(text.substr(at + 2, end - at - 2));
  }
  return names;
}

// As with docker: K alone is the caller's value.
std::string build_argument(const std::string& name, const std::optional<std::string>& value, const Caller& caller) {
  if (value) return *value;
  const auto own = caller.variables.find(name);
  if (own == caller.variables.end())
    throw Error(ErrorCode::kInvalid, "--build-arg " + name + ": there is no such variable",
                "set it, or write --build-arg " + name + "=VALUE");
  return own->second;
}

json caller_document(const SubmitOptions& options, const Caller& caller) {
  auto named = variables_named_in(options, caller);
  for (const auto& [name, value] : options.build_arguments)
    if (!value) named.insert(name);  // tells that its value is the caller's: not to be shown
  json variables = json::object();
  for (const auto& [name, value] : caller.variables)
    if ((is_for_the_daemon(name) || named.contains(name)) && is_utf8(value)) variables[name] = value;
  return {{"directory", caller.directory.string()}, {"variables", std::move(variables)}};
}

// What names an environment by what it is made of.
void add_environment_fields(json& document, const SubmitOptions& options, const Caller& caller) {
  set(document, "python", options.python);
  set(document, "image", options.image);
  set(document, "requirements", options.requirements);
  set(document, "conda", options.conda);
  set(document, "dockerfile", options.dockerfile);
  for (const auto& [key, value] : options.build_arguments)
    document["buildArguments"][key] = build_argument(key, value, caller);
}

// What a submission and a repetition may both say.
void add_run_fields(json& document, const SubmitOptions& options, const Caller& caller) {
  set(document, "experiment", options.experiment);
  set(document, "name", options.name);
  for (const auto& [key, value] : options.tags) document["tags"][key] = value ? json(*value) : json(nullptr);
  for (const auto& [key, value] : options.properties) document["properties"][key] = *value;
  set(document, "parentRunId", options.parent);
  add_environment_fields(document, options, caller);
  set(document, "environment", options.environment);
  if (options.pull) document["pull"] = true;
  if (options.rebuild) document["rebuild"] = true;
  set(document, "maxRunDuration", options.max_run_duration);
  set(document, "grace", options.grace);
  set(document, "cpus", options.cpus);
  set(document, "memory", options.memory);
  set(document, "pids", options.pids);
  set(document, "shmSize", options.shm_size);
  set(document, "maxLogSize", options.max_log_size);
  set(document, "gpus", options.gpus);
  if (options.best_effort_limits) document["bestEffortLimits"] = true;
  if (options.requeue) document["requeue"] = true;
  set(document, "network", options.network);
  if (!options.mounts.empty()) document["mounts"] = options.mounts;
  if (!options.environment_variables.empty()) document["environmentVariables"] = run_variables(options, caller);
  if (!options.secrets.empty()) document["secrets"] = options.secrets;
  set(document, "priority", options.priority);
  if (!options.after.empty()) document["after"] = options.after;
  set(document, "idempotencyKey", options.idempotency_key);
  document["caller"] = caller_document(options, caller);
  if (json secrets = caller_secrets(options, caller); !secrets.empty())
    document["caller"]["secrets"] = std::move(secrets);
}

std::string dump_words(const json& document, const char* command) {
  try {
    return document.dump();
  } catch (const json::exception&) {
    throw Error(ErrorCode::kInvalid, std::string(command) + ": a word of the command line is not UTF-8",
                "rename the file or directory, or pass the bytes through a file");
  }
}

}  // namespace

std::string submission_document(const SubmitOptions& options, const Caller& caller) {
  json document = json::object();
  if (options.command) {
    document["command"] = options.words.size() == 1 ? json{"sh", "-c", options.words[0]} : json(options.words);
  } else if (!options.words.empty()) {
    document["script"] = options.words[0];
    // Without any, those of the runconfig count.
    if (options.words.size() > 1) document["arguments"] = std::vector(options.words.begin() + 1, options.words.end());
  }
  document["sourceDirectory"] = absolute_directory(caller.directory, options.source_directory.value_or(""));
  document["sourceDirectoryExplicit"] = options.source_directory.has_value();
  set(document, "config", options.config);
  set(document, "isolation", options.isolation);
  add_run_fields(document, options, caller);
  return dump_words(document, "submit");
}

std::string rerun_document(const RerunOptions& options, const Caller& caller) {
  json document = json::object();
  set(document, "arguments", options.arguments);
  add_run_fields(document, options.overrides, caller);
  return dump_words(document, "rerun");
}

std::string registration_document(const EnvRegisterOptions& options, const Caller& caller) {
  json document = json::object();
  if (!options.name.empty()) document["name"] = options.name;
  if (options.directory) document["directory"] = absolute_directory(caller.directory, *options.directory);
  add_environment_fields(document, options.source, caller);
  document["caller"] = caller_document(options.source, caller);
  return dump_words(document, "env register");
}

}  // namespace runner::cli
