#include "runner/pipeline/environment_choice.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "envs/build_context.hpp"
#include "runner/api/image_reference.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;
using envs::SpecificationKind;

constexpr std::size_t kLargestDockerfile = 1 << 20;

bool names_environment(const api::Submission& submission) {
  return submission.python || submission.image || submission.requirements || submission.conda ||
         submission.dockerfile || submission.environment;
}

fs::path place_of(const std::string& file, const api::Submission& submission, const fs::path& source) {
  const fs::path base = submission.caller_directory.empty() ? source : fs::path(submission.caller_directory);
  return (base / file).lexically_normal();
}

// The file of an option; what is wrong with its name is the option's.
fs::path file_of(const std::string& option, const std::string& given, const char* usual,
                 const api::Submission& submission, const fs::path& source) {
  if (given.empty())
    throw Error(ErrorCode::kInvalid, option + " '': no file is named", option + " " + usual + ", or leave it out");
  fs::path file = place_of(given, submission, source);
  std::error_code ignored;
  const auto status = fs::status(file, ignored);
  if (fs::is_directory(status))
    throw Error(ErrorCode::kInvalid, option + " " + given + ": is a directory, no file",
                "name the file in it: " + option + " " + (fs::path(given) / usual).lexically_normal().string());
  if (status.type() == fs::file_type::not_found)
    throw Error(ErrorCode::kNotFound, option + " " + given + ": there is no " + file.string(),
                "the path is relative to the directory you submit from");
  return file;
}

EnvironmentChoice read_dockerfile(const std::string& file_or_text, const fs::path& source,
                                  const std::map<std::string, std::string>& arguments) {
  EnvironmentChoice choice;
  envs::Specification& wanted = choice.read.specification;
  wanted.kind = SpecificationKind::kDockerfile;
  if (file_or_text.find('\n') != std::string::npos) {
    wanted.dockerfile = file_or_text;
  } else {
    wanted.dockerfile_path = file_or_text;
    std::error_code ignored;
    if (fs::is_directory(file_or_text, ignored))
      throw Error(ErrorCode::kInvalid, "--dockerfile " + file_or_text + ": it is a directory",
                  "name the file: --dockerfile " + (fs::path(file_or_text) / "Dockerfile").lexically_normal().string());
    const auto text = os::read_file_if_exists(file_or_text, kLargestDockerfile);
    if (!text)
      throw Error(ErrorCode::kInvalid, "--dockerfile " + file_or_text + ": there is no such file", "name a Dockerfile");
    wanted.dockerfile = *text;
  }
  wanted.build_arguments = arguments;
  envs::base_images(wanted.dockerfile, arguments);  // says now what is wrong with it
  if (envs::needs_context(wanted.dockerfile)) wanted.context = source.string();
  return choice;
}

EnvironmentChoice read_conda(const api::Runconfig& config) {
  const api::RunconfigConda& conda = config.conda.value();
  EnvironmentChoice choice;
  try {
    choice.read = conda.file.empty() ? envs::parse_conda(conda.text, conda.at, config.file.parent_path())
                                     : envs::read_conda_file(conda.file);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    throw Error(ErrorCode::kInvalid, conda.at + ": there is no " + conda.file.string(),
                "the path is relative to the source directory");
  }
  return choice;
}

// What the runconfig says, where the command line says nothing of an environment.
std::optional<EnvironmentChoice> from_config(api::Submission& submission, const api::Runconfig& config,
                                             const fs::path& source) {
  if (config.docker && !config.docker->dockerfile.empty()) {
    if (config.conda)
      throw Error(ErrorCode::kInvalid, config.conda->at + ": a conda environment in an image of a Dockerfile",
                  "install the packages in the Dockerfile, or name a baseImage");
    return read_dockerfile(config.docker->dockerfile, source, submission.build_arguments);
  }
  if (config.conda) {
    EnvironmentChoice choice = read_conda(config);
    if (submission.image) {
      choice.read.specification.kind = SpecificationKind::kCondaImage;
      choice.read.specification.image = *submission.image;
    }
    return choice;
  }
  return std::nullopt;
}

bool is_reserved(const std::string& name) { return name.starts_with("AzureML") || name.starts_with("Microsoft"); }

// One that needs no preparation becomes an option like any other.
std::optional<EnvironmentChoice> unfolded(EnvironmentChoice choice, api::Submission& submission) {
  const envs::Specification& wanted = choice.read.specification;
  if (wanted.kind == SpecificationKind::kInterpreter && !wanted.interpreter.empty())
    submission.python = wanted.interpreter;
  if (wanted.kind == SpecificationKind::kImage || wanted.kind == SpecificationKind::kCondaImage)
    submission.image = wanted.image;
  return choice;
}

}  // namespace

void check_environment_options(const api::Submission& submission) {
  const std::array<std::pair<const char*, bool>, 6> options{{{"--python", submission.python.has_value()},
                                                             {"--requirements", submission.requirements.has_value()},
                                                             {"--conda", submission.conda.has_value()},
                                                             {"--image", submission.image.has_value()},
                                                             {"--dockerfile", submission.dockerfile.has_value()},
                                                             {"--env", submission.environment.has_value()}}};
  std::vector<std::string> given;
  for (const auto& [name, there] : options)
    if (there) given.emplace_back(name);
  const bool conda_in_image = given.size() == 2 && submission.conda && submission.image;
  if (given.size() > 1 && !conda_in_image) {
    std::string list;
    for (const std::string& name : given) list += (list.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kInvalid, "at most one of " + list,
                submission.python && submission.image
                    ? "in an image the interpreter is the image's own: leave --python out"
                    : "each of them is a whole environment; only --conda with --image goes together");
  }
  if (submission.image) api::check_image_reference(*submission.image, "--image");
  if (!submission.build_arguments.empty() && !submission.dockerfile && !submission.config && !submission.environment)
    throw Error(ErrorCode::kInvalid, "--build-arg: there is no Dockerfile", "add --dockerfile FILE");
  if (submission.pull && (submission.python || submission.requirements || (submission.conda && !submission.image)))
    throw Error(ErrorCode::kInvalid, "--pull: there is no image", "add --image REF, or leave it out");
}

std::optional<EnvironmentChoice> choose_environment(api::Submission& submission,
                                                    const std::optional<api::Runconfig>& config, const fs::path& source,
                                                    const FindRegistered& registered) {
  if (submission.requirements) {
    EnvironmentChoice choice{.read = envs::read_pip_file(file_of("--requirements", *submission.requirements,
                                                                 "requirements.txt", submission, source))};
    choice.read.specification.kind = SpecificationKind::kVenv;
    return choice;
  }
  if (submission.conda) {
    EnvironmentChoice choice{
        .read = envs::read_conda_file(file_of("--conda", *submission.conda, "environment.yml", submission, source))};
    if (submission.image) {
      choice.read.specification.kind = SpecificationKind::kCondaImage;
      choice.read.specification.image = *submission.image;
    }
    return choice;
  }
  if (submission.dockerfile)
    return read_dockerfile(place_of(*submission.dockerfile, submission, source), source, submission.build_arguments);
  if (submission.environment) {
    auto choice = registered(*submission.environment);
    if (!choice)
      throw Error(ErrorCode::kNotFound, "--env " + *submission.environment + ": there is no such environment",
                  "`runner env list` shows what is registered");
    return unfolded(std::move(*choice), submission);
  }
  if (!config || submission.python) return std::nullopt;
  // Behind --image the runconfig's conda environment goes into that image, if it wanted one at all.
  if (!submission.image || config->docker)
    if (auto choice = from_config(submission, *config, source)) return choice;
  if (names_environment(submission) || config->environment_name.empty()) return std::nullopt;
  const std::string name = config->environment_name;
  auto choice = registered(config->environment_version.empty() ? name : name + ":" + config->environment_version);
  if (choice) return unfolded(std::move(*choice), submission);
  // Generated runconfigs carry a name that says nothing ("project_environment").
  if (is_reserved(name))
    throw Error(ErrorCode::kNotFound, "environment.name: " + name + ": there is no such environment",
                "`runner env list` shows those that come with runner");
  return std::nullopt;
}

std::string definition_json(const envs::ReadSpecification& read) {
  // Where a file lay on the day it was read does not make another environment, unless rules for the context lie beside.
  envs::Specification specification = read.specification;
  std::error_code ignored;
  if (!fs::exists(specification.dockerfile_path + envs::kDockerIgnore, ignored)) specification.dockerfile_path.clear();
  return nlohmann::json{{"specification", nlohmann::json::parse(envs::to_json(specification))},
                        {"variables", read.variables}}
      .dump();
}

envs::ReadSpecification definition_from_json(const std::string& text) {
  try {
    const auto document = nlohmann::json::parse(text);
    envs::ReadSpecification read;
    read.specification = envs::specification_from_json(document.at("specification").dump());
    document.at("variables").get_to(read.variables);
    return read;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kInternal, std::string("a registered environment is damaged: ") + error.what());
  }
}

std::string image_name_of(const envs::Specification& dockerfile) {
  return "runner-env:" + envs::identity_of(dockerfile, {}).hex().substr(0, 16);
}

}  // namespace runner::pipeline
