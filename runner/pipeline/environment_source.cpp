#include "runner/pipeline/environment_source.hpp"

#include <unistd.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "runner/api/environment_directory.hpp"
#include "runner/api/runconfig.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"
#include "runner/pipeline/environment_choice.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;
using envs::SpecificationKind;

constexpr std::size_t kLargestFile = 1 << 20;

std::optional<EnvironmentChoice> nothing_registered(const std::string&) { return std::nullopt; }

// A path of the caller's, or a program of the caller's PATH.
std::string interpreter_path(const api::Submission& source) {
  const std::string& wanted = source.python.value();
  const auto search = source.caller_variables.find("PATH");
  fs::path path;
  if (wanted.find('/') != std::string::npos)
    path = (fs::path(source.source_directory) / wanted).lexically_normal();
  else if (search != source.caller_variables.end())
    path = os::find_program(wanted, search->second).value_or(fs::path());
  std::error_code ignored;
  if (path.empty() || !fs::is_regular_file(path, ignored) || ::access(path.c_str(), X_OK) != 0)
    throw Error(ErrorCode::kInvalid, "--python " + wanted + ": there is no such program", "name a Python interpreter");
  return path.string();
}

envs::ReadSpecification image_alone(const std::string& image) {
  envs::ReadSpecification read;
  read.specification.kind = SpecificationKind::kImage;
  read.specification.image = image;
  return read;
}

envs::ReadSpecification interpreter_alone(const std::string& path) {
  envs::ReadSpecification read;
  read.specification.interpreter = path;
  return read;
}

// azureml_environment.json: Azure's environment section, and what stands beside it in no runconfig.
class Description {
 public:
  explicit Description(const fs::path& directory) {
    const fs::path file = directory / api::kEnvironmentFile;
    const auto text = os::read_file_if_exists(file, kLargestFile);
    if (!text) return;
    exists_ = true;
    json_ = nlohmann::json::parse(*text, nullptr, false);
    if (!json_.is_object())
      throw Error(ErrorCode::kInvalid, file.string() + ": not a JSON object",
                  "`runner env scaffold` writes one to begin with");
    // On one line with the brace, so that the line numbers stay right.
    config_ = api::parse_runconfig("{\"environment\": " + *text + "}", file.string(), directory);
    config_.file = file;
    config_.environment_name.clear();  // its own name, not that of another
  }

  bool exists() const { return exists_; }
  api::Runconfig& config() { return config_; }
  std::string name() const {
    const auto at = json_.find("name");
    return at != json_.end() && at->is_string() ? at->get<std::string>() : std::string();
  }
  bool user_managed() const {
    const nlohmann::json::json_pointer place("/python/userManagedDependencies");
    return json_.is_object() && json_.contains(place) && json_.at(place).is_boolean() && json_.at(place).get<bool>();
  }

 private:
  bool exists_ = false;
  nlohmann::json json_ = nlohmann::json::object();
  api::Runconfig config_;
};

void warn_of_docker(const api::RunconfigDocker& docker, std::vector<std::string>& warnings) {
  if (!docker.arguments_at.empty() || docker.arguments.shm_bytes)
    warnings.push_back(
        "docker.arguments and docker.shmSize are options of a run: they are not kept with the environment");
  if (!docker.interpreter.empty())
    warnings.push_back("python.interpreterPath: " + docker.interpreter + ": not kept; an image's python3 is used");
}

std::optional<fs::path> pip_file_in(const fs::path& directory) {
  std::error_code ignored;
  for (const char* name : {api::kRequirementsFile, api::kProjectFile})
    if (const fs::path file = directory / name; fs::is_regular_file(file, ignored)) return file;
  return std::nullopt;
}

envs::ReadSpecification read_described(Description& description, const fs::path& directory) {
  api::Runconfig& config = description.config();
  std::error_code ignored;
  const fs::path conda = directory / api::kCondaFile;
  const bool has_dockerfile = config.docker && !config.docker->dockerfile.empty();
  if (!config.conda && !description.user_managed() && !has_dockerfile && fs::is_regular_file(conda, ignored))
    config.conda = api::RunconfigConda{.file = conda, .text = {}, .at = conda.string()};
  api::Submission submission;
  if (config.docker && !config.docker->image.empty()) submission.image = config.docker->image;
  if (auto choice = choose_environment(submission, config, directory, nothing_registered))
    return std::move(choice->read);
  if (submission.image) return image_alone(*submission.image);
  if (config.docker)
    throw Error(ErrorCode::kInvalid, config.docker->switch_at + ": there is no image",
                "add baseImage or baseDockerfile");
  if (config.interpreter_path) return interpreter_alone(*config.interpreter_path);
  if (description.user_managed()) return interpreter_alone({});
  if (const auto file = pip_file_in(directory)) {
    envs::ReadSpecification read = envs::read_pip_file(*file);
    read.specification.kind = SpecificationKind::kVenv;
    return read;
  }
  throw Error(ErrorCode::kInvalid,
              "-d " + directory.string() + ": neither " + api::kCondaFile + " nor " + api::kRequirementsFile +
                  (description.exists() ? "" : std::string(" nor ") + api::kEnvironmentFile) + " in it",
              "`runner env scaffold` writes them to begin with");
}

EnvironmentSource read_directory(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored))
    throw Error(ErrorCode::kInvalid, "-d " + directory.string() + ": there is no such directory",
                "`runner env scaffold NAME -d DIR` makes one");
  Description description(directory);
  EnvironmentSource source{.name = description.name(), .read = read_described(description, directory)};
  const api::Runconfig& config = description.config();
  for (const auto& [name, value] : config.environment_variables) source.read.variables.insert_or_assign(name, value);
  std::vector<std::string> warnings = config.warnings;
  if (config.docker) warn_of_docker(*config.docker, warnings);
  source.read.warnings.insert(source.read.warnings.begin(), warnings.begin(), warnings.end());
  return source;
}

envs::ReadSpecification read_options(const api::Submission& options) {
  check_environment_options(options);
  if (options.python) return interpreter_alone(interpreter_path(options));
  if (options.image && !options.conda) return image_alone(*options.image);
  api::Submission source = options;
  auto choice = choose_environment(source, std::nullopt, options.source_directory, nothing_registered);
  if (!choice)
    throw Error(ErrorCode::kInvalid, "env register: nothing to register",
                "one of --requirements, --conda, --image, --dockerfile, --python or -d DIR");
  return std::move(choice->read);
}

// They are not stored, so a later build would be refused.
void warn_of_credentials(envs::ReadSpecification& read) {
  for (const auto& [url, with] : read.credentials)
    read.warnings.push_back(
        url + ": its credentials are not kept; write them as ${VARIABLE} in the file, or put them into ~/.netrc");
}

}  // namespace

EnvironmentSource read_environment_source(const api::EnvironmentRegistration& registration) {
  const api::Submission& options = registration.source;
  EnvironmentSource source;
  if (registration.directory) {
    if (options.python || options.requirements || options.conda || options.image || options.dockerfile)
      throw Error(ErrorCode::kInvalid, "env register: -d DIR is a whole environment", "leave the other options out");
    source = read_directory((fs::path(options.source_directory) / *registration.directory).lexically_normal());
  } else {
    source.read = read_options(options);
  }
  if (!registration.name.empty()) source.name = registration.name;
  warn_of_credentials(source.read);
  return source;
}

}  // namespace runner::pipeline
