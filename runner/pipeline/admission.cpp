#include "runner/pipeline/admission.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "runner/api/runconfig.hpp"
#include "runner/core/error.hpp"
#include "runner/pipeline/script_command.hpp"

namespace runner::pipeline {
namespace {

bool legal_in_name(char c, bool first) {
  const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || (!first && (c == '_' || c == '-'));
}

std::filesystem::path existing_source(const api::Submission& submission) {
  const std::filesystem::path given = submission.source_directory;
  if (!given.is_absolute())
    throw Error(ErrorCode::kInvalid, "source directory " + given.string() + ": not an absolute path");
  std::error_code failed;
  const auto source = std::filesystem::canonical(given, failed);
  if (failed || !std::filesystem::is_directory(source))
    throw Error(ErrorCode::kNotFound,
                "source directory " + given.string() + ": " + (failed ? failed.message() : "not a directory"));
  const std::filesystem::path home = own_account().home;
  std::error_code ignored;
  if (!submission.source_directory_explicit && (source == "/" || std::filesystem::equivalent(source, home, ignored)))
    throw Error(ErrorCode::kInvalid,
                "source directory " + source.string() + ": refusing to snapshot " +
                    (source == "/" ? "/" : "the home directory"),
                "change into the project's directory, or say --source-dir " + source.string() + " if you mean it");
  return source;
}

// The script's path relative to the source, in normal form. It must exist now; that it is not ignored is seen in the
// snapshot.
std::string checked_script(const std::filesystem::path& source, const std::string& script) {
  if (script.empty()) throw Error(ErrorCode::kInvalid, "no script was given", "runner submit SCRIPT [ARGS…]");
  std::filesystem::path path = std::filesystem::path(script).lexically_normal();
  if (path.is_absolute()) path = path.lexically_relative(source);
  if (path.empty() || *path.begin() == ".." || path.is_absolute())
    throw Error(ErrorCode::kInvalid, "script " + script + ": outside the source directory " + source.string(),
                "name the directory that holds it with --source-dir");
  struct ::stat info {};
  const auto full = source / path;
  if (::stat(full.c_str(), &info) != 0)
    throw Error(ErrorCode::kInvalid, "script " + script + ": no such file in " + source.string(),
                "SCRIPT is relative to the source directory (--source-dir, or the current directory)");
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::kInvalid, "script " + script + ": not a regular file");
  return path.string();
}

std::int64_t positive_integer(const std::string& text, const std::string& what) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1)
    throw Error(ErrorCode::kInvalid, what + ": '" + text + "' is not a whole number above zero");
  return value;
}

double positive_number(const std::string& text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0.01 && value <= 4096))
    throw Error(ErrorCode::kInvalid, what + ": '" + text + "' is not a number of CPUs", "write 0.5, 1, 2, …");
  return value;
}

bool network_from(const std::string& text) {
  if (text == "on") return true;
  if (text == "off") return false;
  throw Error(ErrorCode::kInvalid, "--network: '" + text + "' is neither on nor off");
}

Isolation isolation_for(const std::string& text) {
  const auto isolation = isolation_from(text);
  if (!isolation)
    throw Error(ErrorCode::kInvalid, "--isolation: '" + text + "' is unknown", "sandbox is the one built in");
  if (*isolation != Isolation::kSandbox)
    throw Error(ErrorCode::kUnavailable, "--isolation " + text + ": this version has only the sandbox",
                "leave the option out");
  return *isolation;
}

void check_variables(const std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : variables)
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos ||
        value.find('\0') != std::string::npos)
      throw Error(ErrorCode::kInvalid, "environment variable '" + name + "': not a legal name or value");
}

void read_limits(const api::Submission& submission, RunDefinition& definition) {
  if (submission.max_run_duration)
    definition.max_run_duration = parse_duration(*submission.max_run_duration, "--max-run-duration");
  if (definition.max_run_duration && definition.max_run_duration->count() == 0)
    throw Error(ErrorCode::kInvalid, "--max-run-duration: must be longer than nothing", "leave it out for no limit");
  if (submission.grace) definition.grace = parse_duration(*submission.grace, "--grace");
  if (submission.cpus) definition.cpus = positive_number(*submission.cpus, "--cpus");
  if (submission.memory) definition.memory_bytes = parse_size(*submission.memory, "--memory");
  constexpr std::int64_t kLeastMemory = 6 << 20;  // docker's lower bound: less cannot even start
  if (definition.memory_bytes && *definition.memory_bytes < kLeastMemory)
    throw Error(ErrorCode::kInvalid, "--memory: less than 6 MiB cannot run anything");
  if (submission.pids) definition.pids = positive_integer(*submission.pids, "--pids");
  if (submission.shm_size) definition.shm_bytes = parse_size(*submission.shm_size, "--shm-size");
  if (submission.network) definition.network = network_from(*submission.network);
}

// What a runconfig says, where the command line is silent.
void merge_config(api::Submission& submission, const api::Runconfig& config, RunDefinition& definition) {
  if (!submission.script && !submission.command) {
    submission.script = config.script;
    if (!config.script && config.command) submission.command = config.command;
  }
  if (!submission.arguments && config.arguments) submission.arguments = config.arguments;
  if (config.max_run_duration) definition.max_run_duration = config.max_run_duration;
  if (!submission.python) submission.python = config.interpreter_path;
  for (const auto& [name, value] : config.environment_variables) submission.environment_variables.emplace(name, value);
}

}  // namespace

std::string experiment_name_from(const std::string& directory_name) {
  std::string name;
  for (const char c : directory_name) {
    if (legal_in_name(c, name.empty()))
      name += c;
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "default" : name;
}

Mount parse_mount(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorCode::kInvalid, "--mount " + text + ": " + why, "write SRC:DST, SRC:DST:ro or SRC:DST:rw");
  };
  Mount mount;
  std::string rest = text;
  if (rest.ends_with(":ro") || rest.ends_with(":rw")) {
    mount.writable = rest.ends_with(":rw");
    rest.resize(rest.size() - 3);
  }
  const auto colon = rest.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == rest.size()) throw wrong("not SRC:DST");
  mount.source = rest.substr(0, colon);
  mount.target = std::filesystem::path(rest.substr(colon + 1)).lexically_normal();
  while (mount.target.size() > 1 && mount.target.ends_with('/')) mount.target.pop_back();
  if (!mount.source.starts_with('/') || !mount.target.starts_with('/')) throw wrong("both paths must be absolute");
  if (!std::filesystem::exists(mount.source)) throw wrong("there is no " + mount.source);
  for (const char* reserved : {"/", "/proc", "/sys", "/dev", "/run/runner", "/run/runner-init", "/run/runner-python"})
    if (mount.target == reserved || (mount.target.starts_with(reserved) && std::string_view(reserved) != "/" &&
                                     mount.target[std::string_view(reserved).size()] == '/'))
      throw wrong(std::string(reserved) + " is the sandbox's own");
  return mount;
}

Admission admit(const api::Submission& given) {
  api::Submission submission = given;
  Admission admission;
  RunDefinition& definition = admission.run.definition;
  const std::filesystem::path source = existing_source(submission);
  definition.source_directory = source.string();
  if (submission.config) {
    api::Runconfig config = api::load_runconfig(source, *submission.config);
    definition.config_name = *submission.config;
    admission.notices = std::move(config.warnings);
    merge_config(submission, config, definition);
  }
  read_limits(submission, definition);
  definition.isolation = isolation_for(submission.isolation.value_or("sandbox"));

  if (submission.script && submission.command)
    throw Error(ErrorCode::kInvalid, "both a script and a command were given", "give one of them");
  if (submission.command) {
    if (submission.command->empty() || submission.command->front().empty())
      throw Error(ErrorCode::kInvalid, "--command: nothing to run");
    definition.command = *submission.command;
  } else {
    definition.script = checked_script(source, submission.script.value_or(""));
    definition.arguments = submission.arguments.value_or(std::vector<std::string>{});
    admission.interpreter_required = std::filesystem::path(definition.script).extension() == ".py";
  }
  for (const std::string& mount : submission.mounts) definition.mounts.push_back(parse_mount(mount));
  check_variables(submission.environment_variables);
  definition.environment_variables = submission.environment_variables;
  for (const auto& [name, value] : submission.caller_variables)
    if (name == "LANG" || name == "TZ" || name.starts_with("LC_")) definition.caller_variables.emplace(name, value);

  RunRecord& run = admission.run;
  run.experiment = submission.experiment.value_or(experiment_name_from(source.filename()));
  if (run.experiment.empty() || run.experiment.size() > 200 || run.experiment != experiment_name_from(run.experiment))
    throw Error(ErrorCode::kInvalid, "--experiment: '" + run.experiment + "' is not a legal name",
                "a letter or digit first, then letters, digits, _ and -");
  run.name = submission.name.value_or("");
  run.tags = submission.tags;
  run.properties = submission.properties;
  run.parent = submission.parent_run_id;
  run.priority = submission.priority;
  run.idempotency_key = submission.idempotency_key;
  admission.python = submission.python;
  admission.caller.directory =
      submission.caller_directory.empty() ? source : std::filesystem::path(submission.caller_directory);
  admission.caller.variables = submission.caller_variables;
  return admission;
}

}  // namespace runner::pipeline
