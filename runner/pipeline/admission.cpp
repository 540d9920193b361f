#include "runner/pipeline/admission.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "runner/api/image_reference.hpp"
#include "runner/api/runconfig.hpp"
#include "runner/core/error.hpp"
#include "runner/pipeline/script_command.hpp"

namespace runner::pipeline {
namespace {

bool legal_in_name(char c, bool first) {
  const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || (!first && (c == '_' || c == '-'));
}

}  // namespace

std::filesystem::path existing_source(const std::string& directory, bool named_explicitly) {
  const std::filesystem::path given = directory;
  if (!given.is_absolute())
    throw Error(ErrorCode::kInvalid, "source directory " + given.string() + ": not an absolute path");
  std::error_code failed;
  const auto source = std::filesystem::canonical(given, failed);
  if (failed || !std::filesystem::is_directory(source))
    throw Error(ErrorCode::kNotFound,
                "source directory " + given.string() + ": " + (failed ? failed.message() : "not a directory"));
  const std::filesystem::path home = own_account().home;
  std::error_code ignored;
  if (!named_explicitly && (source == "/" || std::filesystem::equivalent(source, home, ignored)))
    throw Error(ErrorCode::kInvalid,
                "source directory " + source.string() + ": refusing to snapshot " +
                    (source == "/" ? "/" : "the home directory"),
                "change into the project's directory, or say --source-dir " + source.string() + " if you mean it");
  return source;
}

namespace {

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

// "all", "none", "2" of them, "0,1" or "device=0": these.
GpuRequest gpus_from(std::string text) {
  const Error wrong(ErrorCode::kInvalid, "--gpus: '" + text + "' is not all, none, a number of GPUs or their ids",
                    "write 2 for any two, 0,1 for these two, device=0 for the one");
  if (text == "all") return {};
  if (text == "none") return {.count = 0};
  const bool named = text.starts_with("device=");
  if (named) text.erase(0, text.find('=') + 1);
  if (!named && text.find(',') == std::string::npos) {
    int count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error == std::errc{} && end == text.data() + text.size() && count >= 0) return {.count = count};
  }
  GpuRequest request;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto comma = std::min(text.find(',', begin), text.size());
    std::string id = text.substr(begin, comma - begin);
    if (id.empty()) throw Error(wrong);
    if (std::find(request.ids.begin(), request.ids.end(), id) == request.ids.end())
      request.ids.push_back(std::move(id));
    begin = comma + 1;
  }
  return request;
}

bool network_from(const std::string& text) {
  if (text == "on") return true;
  if (text == "off") return false;
  throw Error(ErrorCode::kInvalid, "--network: '" + text + "' is neither on nor off");
}

// An unknown word is no contradiction: isolation_for() says what is wrong with it.
bool contradicts_image(const std::optional<std::string>& asked) {
  const auto isolation = asked ? isolation_from(*asked) : std::nullopt;
  return isolation && *isolation != Isolation::kDocker;
}

// Docker and an image come together or not at all; without either the sandbox.
Isolation isolation_for(const std::optional<std::string>& asked, bool has_image) {
  if (!asked) return has_image ? Isolation::kDocker : Isolation::kSandbox;
  const auto isolation = isolation_from(*asked);
  if (!isolation)
    throw Error(ErrorCode::kInvalid, "--isolation: '" + *asked + "' is unknown",
                "there are sandbox and, with --image REF, docker");
  if (*isolation == Isolation::kNone)
    throw Error(ErrorCode::kUnavailable, "--isolation none: this version has only the sandbox and docker",
                "leave the option out");
  if (*isolation != Isolation::kDocker && has_image)
    throw Error(ErrorCode::kInvalid, "--isolation " + *asked + ": the environment is an image, which runs in docker",
                "leave --isolation out");
  if (*isolation == Isolation::kDocker && !has_image)
    throw Error(ErrorCode::kInvalid, "--isolation docker: needs an image", "--image REF");
  return *isolation;
}

void check_variables(const std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : variables)
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos ||
        value.find('\0') != std::string::npos)
      throw Error(ErrorCode::kInvalid, "environment variable '" + name + "': not a legal name or value");
}

// "RUN", "RUN:ok", "RUN:any"; names become ids later.
std::map<std::string, AfterEnd> after_from(const std::vector<std::string>& texts) {
  std::map<std::string, AfterEnd> after;
  for (const std::string& text : texts) {
    const auto colon = text.rfind(':');
    const std::string word = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (colon != std::string::npos && word != to_string(AfterEnd::kSuccess) && word != to_string(AfterEnd::kAny))
      throw Error(ErrorCode::kInvalid, "--after " + text + ": '" + word + "' is no kind of end",
                  "RUN:ok waits for a success, RUN:any for any end");
    const auto end = word == to_string(AfterEnd::kAny) ? AfterEnd::kAny : AfterEnd::kSuccess;
    const auto [known, added] = after.emplace(text.substr(0, colon), end);
    if (!added && end == AfterEnd::kSuccess) known->second = end;
  }
  return after;
}

std::int64_t log_size_from(const std::string& text) {
  return text == "unlimited" ? RunDefinition::kUnlimited : parse_size(text, "--max-log-size");
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
  if (submission.max_log_size) definition.max_log_bytes = log_size_from(*submission.max_log_size);
  definition.after = after_from(submission.after);  // of a repetition, too: what came before the original is over
  if (submission.gpus) definition.gpus = gpus_from(*submission.gpus);
  if (submission.best_effort_limits) definition.best_effort_limits = *submission.best_effort_limits;
  if (submission.requeue) definition.requeue = *submission.requeue;
  definition.unenforced.clear();
  if (submission.network) definition.network = network_from(*submission.network);
  if (!definition.network) definition.engine.network.clear();  // of a runconfig that names one
}

// Paths of a container that are not the user's to cover.
void check_target(const std::string& target, const std::string& what) {
  for (const std::string_view reserved : {"/", "/proc", "/sys", "/dev", "/run/runner", "/run/runner-api",
                                          "/run/runner-init", "/run/runner-python", "/run/secrets"})
    if (target == reserved || (target.starts_with(reserved) && reserved != "/" && target[reserved.size()] == '/'))
      throw Error(ErrorCode::kInvalid, what + ": " + std::string(reserved) + " is the run's own",
                  "choose another directory");
}

// The words a runconfig passes to docker, where the command line is silent. A directory the command line mounts
// replaces the one the runconfig has at the same place.
void merge_docker(const api::RunconfigDocker& docker, api::Submission& submission, RunDefinition& definition) {
  const api::DockerArguments& given = docker.arguments;
  definition.engine = given.engine;
  for (const auto& [path, options] : given.engine.tmpfs)
    check_target(std::filesystem::path(path).lexically_normal(), docker.arguments_at + ": --tmpfs " + path);
  definition.memory_bytes = given.memory_bytes;
  definition.cpus = given.cpus;
  definition.pids = given.pids;
  if (!given.gpus.empty()) definition.gpus = gpus_from(given.gpus);
  definition.shm_bytes = given.shm_bytes;
  definition.network = given.network.value_or(true);
  for (const std::string& mount : given.mounts)
    definition.mounts.push_back(parse_mount(mount, docker.arguments_at + ": -v"));
  for (const auto& [name, value] : given.environment_variables) submission.environment_variables.emplace(name, value);
}

// Which environment a runconfig adds. The command line's --python replaces its image with all that belongs to it, the
// command line's --image its interpreter on this machine; with Docker switched on --image changes the image alone.
void merge_environment(const api::Runconfig& config, api::Submission& submission, RunDefinition& definition) {
  if (submission.python || submission.requirements || submission.dockerfile || submission.environment) return;
  if (submission.conda && !submission.image) return;
  if (!config.docker) {
    if (!submission.image && !config.conda) submission.python = config.interpreter_path;
    return;
  }
  if (!submission.image) {
    if (config.docker->image.empty() && config.docker->dockerfile.empty())
      throw Error(ErrorCode::kInvalid, config.docker->switch_at + ", but no image is named",
                  "add environment.docker.baseImage: REF, or use --image REF");
    if (contradicts_image(submission.isolation))
      throw Error(ErrorCode::kInvalid,
                  "--isolation " + *submission.isolation + ": " + config.docker->switch_at + " names an image",
                  "add --python PATH to run without the image, or leave --isolation out");
    if (!config.docker->image.empty()) submission.image = config.docker->image;
  }
  definition.image_interpreter = config.docker->interpreter;
  merge_docker(*config.docker, submission, definition);
}

// What a runconfig says, where the command line is silent.
void merge_config(api::Submission& submission, const api::Runconfig& config, RunDefinition& definition) {
  if (!submission.script && !submission.command) {
    submission.script = config.script;
    if (!config.script && config.command) submission.command = config.command;
  }
  if (!submission.arguments && config.arguments) submission.arguments = config.arguments;
  if (config.max_run_duration) definition.max_run_duration = config.max_run_duration;
  for (const auto& [name, value] : config.environment_variables) submission.environment_variables.emplace(name, value);
  merge_environment(config, submission, definition);
}

// Judged before the runconfig is read: what the user typed must agree with itself.
void check_options(const api::Submission& submission) {
  check_environment_options(submission);
  const char* option = submission.image ? "an image" : submission.dockerfile ? "a Dockerfile's image" : nullptr;
  if (option != nullptr && contradicts_image(submission.isolation))
    throw Error(ErrorCode::kInvalid, "--isolation " + *submission.isolation + ": " + option + " runs in docker",
                submission.image ? "leave --isolation or --image out" : "leave --isolation or --dockerfile out");
}

void read_mounts(const api::Submission& submission, RunDefinition& definition) {
  for (const std::string& text : submission.mounts) {
    Mount mount = parse_mount(text);
    std::erase_if(definition.mounts, [&](const Mount& other) { return other.target == mount.target; });
    definition.mounts.push_back(std::move(mount));
  }
}

// A value that is recorded and one that must not be cannot have the same name.
void check_secret_names(const RunDefinition& definition) {
  for (const std::string& name : definition.secrets)
    if (definition.environment_variables.contains(name))
      throw Error(ErrorCode::kInvalid, "--secret " + name + ": a recorded variable has the same name",
                  "give it as --secret or as a variable, not as both");
}

// Where the run runs follows from what it runs in.
void read_environment(api::Submission& submission, std::optional<EnvironmentChoice> choice, Admission& admission) {
  RunDefinition& definition = admission.run.definition;
  definition.image = submission.image.value_or("");
  definition.pull_image = submission.pull;
  definition.rebuild_environment = submission.rebuild;
  if (choice) {
    const envs::Specification& wanted = choice->read.specification;
    if (wanted.kind == envs::SpecificationKind::kDockerfile) definition.image = image_name_of(wanted);
    for (const auto& [name, value] : choice->read.variables) submission.environment_variables.emplace(name, value);
    for (std::string& warning : choice->read.warnings) admission.notices.push_back(std::move(warning));
    choice->read.warnings.clear();
    admission.environment = std::move(choice);
  }
  definition.isolation = isolation_for(submission.isolation, !definition.image.empty());
}

// Another environment replaces the old one with all that belongs to it; another image only the image.
void override_environment(const api::Submission& overrides, RunDefinition& definition) {
  definition.rebuild_environment = overrides.rebuild;
  definition.pull_image = overrides.pull;
  if (overrides.image) {
    definition.image = *overrides.image;
    definition.isolation = Isolation::kDocker;
  } else if (overrides.python) {
    definition.image.clear();
    definition.image_interpreter.clear();
    definition.engine_socket.clear();
    definition.engine = {};
    definition.isolation = Isolation::kSandbox;
  }
}

void override_arguments(const RunRecord& original, const api::Submission& overrides, RunDefinition& definition) {
  if (!overrides.arguments) return;
  if (definition.script.empty())
    throw Error(ErrorCode::kInvalid,
                "run " + original.id + " ran a command: it has no script whose arguments could be replaced",
                "submit the command anew: runner submit --command …");
  definition.arguments = *overrides.arguments;
}

// What the original mounted is looked for again; a mount at the same place replaces it.
void override_mounts(const api::Submission& overrides, RunDefinition& definition) {
  read_mounts(overrides, definition);
  for (const Mount& mount : definition.mounts)
    parse_mount(mount.source + ":" + mount.target + (mount.writable ? ":rw" : ":ro"), "the original's --mount");
}

std::map<std::string, std::string> secrets_again(const RunDefinition& definition, const api::Submission& overrides,
                                                 const std::filesystem::path& file) {
  auto secrets = find_secrets(overrides.secrets, overrides.caller_secrets, file);
  for (const std::string& name : definition.secrets) {
    if (secrets.contains(name)) continue;
    try {
      secrets.merge(find_secrets({name}, {}, file));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalid) throw;
      throw Error(
          ErrorCode::kInvalid,
          "secret " + name + " of the original is not in " + file.string() + ", and its value is stored nowhere",
          "give it again: set the variable and add --secret " + name);
    }
  }
  return secrets;
}

}  // namespace

void check_experiment(const std::string& name) {
  if (name.empty() || name.size() > 200 || name != experiment_name_from(name))
    throw Error(ErrorCode::kInvalid, "--experiment: '" + name + "' is not a legal name",
                "a letter or digit first, then letters, digits, _ and -");
}

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

Mount parse_mount(const std::string& text, const std::string& what) {
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorCode::kInvalid, what + " " + text + ": " + why, "write SRC:DST, SRC:DST:ro or SRC:DST:rw");
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
  std::error_code failed;
  if (!std::filesystem::exists(mount.source, failed))
    throw wrong(failed && failed != std::errc::no_such_file_or_directory
                    ? mount.source + " cannot be entered: " + failed.message()
                    : "there is no " + mount.source);
  check_target(mount.target, what + " " + text);
  return mount;
}

Admission admit(const api::Submission& given, const std::filesystem::path& secrets_file,
                const FindRegistered& registered) {
  api::Submission submission = given;
  check_options(submission);
  Admission admission;
  RunDefinition& definition = admission.run.definition;
  const std::filesystem::path source =
      existing_source(submission.source_directory, submission.source_directory_explicit);
  definition.source_directory = source.string();
  std::optional<api::Runconfig> config;
  if (submission.config) {
    config = api::load_runconfig(source, *submission.config);
    definition.config_name = *submission.config;
    admission.notices = std::move(config->warnings);
    merge_config(submission, *config, definition);
  }
  read_limits(submission, definition);
  read_environment(submission, choose_environment(submission, config, source, registered), admission);

  if (submission.script && submission.command)
    throw Error(ErrorCode::kInvalid, "both a script and a command were given", "give one of them");
  if (submission.command) {
    if (submission.command->empty() || submission.command->front().empty())
      throw Error(ErrorCode::kInvalid, "--command: nothing to run");
    definition.command = *submission.command;
  } else {
    definition.script = checked_script(source, submission.script.value_or(""));
    definition.arguments = submission.arguments.value_or(std::vector<std::string>{});
    admission.interpreter_required =
        definition.image.empty() && std::filesystem::path(definition.script).extension() == ".py";
  }
  read_mounts(submission, definition);
  check_variables(submission.environment_variables);
  definition.environment_variables = submission.environment_variables;
  definition.secrets = submission.secrets;
  check_secret_names(definition);
  admission.secrets = find_secrets(submission.secrets, submission.caller_secrets, secrets_file);
  for (const auto& [name, value] : submission.caller_variables)
    if (name == "LANG" || name == "TZ" || name.starts_with("LC_")) definition.caller_variables.emplace(name, value);

  RunRecord& run = admission.run;
  run.experiment = submission.experiment.value_or(experiment_name_from(source.filename()));
  check_experiment(run.experiment);
  run.name = submission.name.value_or("");
  run.tags = submission.tags;
  run.properties = submission.properties;
  run.parent = submission.parent_run_id;
  run.queue.priority = submission.priority.value_or(0);
  run.idempotency_key = submission.idempotency_key;
  admission.python = submission.python;
  admission.caller.directory =
      submission.caller_directory.empty() ? source : std::filesystem::path(submission.caller_directory);
  admission.caller.variables = submission.caller_variables;
  return admission;
}

Admission admit_again(const RunRecord& original, const api::Submission& overrides,
                      const std::filesystem::path& secrets_file, const FindRegistered& registered) {
  check_options(overrides);
  api::Submission environment = overrides;
  auto choice = choose_environment(environment, std::nullopt, original.definition.source_directory, registered);
  Admission admission;
  RunRecord& run = admission.run;
  RunDefinition& definition = run.definition;
  definition = original.definition;
  definition.within.clear();  // a repetition has a place of its own
  read_limits(overrides, definition);
  override_environment(environment, definition);
  if (choice) read_environment(environment, std::move(choice), admission);
  override_arguments(original, overrides, definition);
  override_mounts(overrides, definition);
  check_variables(overrides.environment_variables);
  for (const auto& [name, value] : overrides.environment_variables)
    definition.environment_variables.insert_or_assign(name, value);
  for (const std::string& name : overrides.secrets)
    if (std::find(definition.secrets.begin(), definition.secrets.end(), name) == definition.secrets.end())
      definition.secrets.push_back(name);
  check_secret_names(definition);
  admission.secrets = secrets_again(definition, overrides, secrets_file);

  run.experiment = overrides.experiment.value_or(original.experiment);
  check_experiment(run.experiment);
  run.name = overrides.name.value_or(original.name == original.id ? "" : original.name);
  run.tags = original.tags;
  for (const auto& [name, value] : overrides.tags) run.tags.insert_or_assign(name, value);
  run.properties = original.properties;
  for (const auto& [name, value] : overrides.properties) run.properties.insert_or_assign(name, value);
  run.parent = overrides.parent_run_id;  // a repetition stands on its own, unless it is given a parent
  run.queue.priority = overrides.priority.value_or(0);
  run.idempotency_key = overrides.idempotency_key;
  admission.python = environment.python;
  admission.interpreter_required =
      definition.image.empty() && std::filesystem::path(definition.script).extension() == ".py";
  admission.caller.directory = overrides.caller_directory.empty() ? "/" : overrides.caller_directory;
  admission.caller.variables = overrides.caller_variables;
  return admission;
}

}  // namespace runner::pipeline
