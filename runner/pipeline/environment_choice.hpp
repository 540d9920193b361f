// Which environment a submission asks for, out of its options, its runconfig and the registered environments. Reads the
// files that are named; nothing is written.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "envs/specification_files.hpp"
#include "runner/api/runconfig.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/run.hpp"

namespace runner::pipeline {

struct EnvironmentChoice {
  envs::ReadSpecification read{};
  std::string name{};     // of a registered one; empty: it has none
  std::string version{};  // of the registered one
};

// "NAME" or "NAME:VERSION" → what was registered. Nothing: there is none of that name. Error(kNotFound) for a version
// that is not there.
using FindRegistered = std::function<std::optional<EnvironmentChoice>(const std::string& name)>;

// At most one of them, but for --conda with --image. Error(kInvalid) naming those that were given.
void check_environment_options(const api::Submission& submission);

// What has to be prepared, or nothing: then `submission.python` and `submission.image` say what is used as it is. A
// registered interpreter or image ends there, too. `config` counts where the options are silent.
std::optional<EnvironmentChoice> choose_environment(api::Submission& submission,
                                                    const std::optional<api::Runconfig>& config,
                                                    const std::filesystem::path& source,
                                                    const FindRegistered& registered);

// The document of a registered environment and back (pipeline/environment_registry.cpp writes it):
// {"specification": {…}, "variables": {…}}
std::string definition_json(const envs::ReadSpecification& read);
envs::ReadSpecification definition_from_json(const std::string& json);

// How an unbuilt Dockerfile's image is called until it has an id.
std::string image_name_of(const envs::Specification& dockerfile);

}  // namespace runner::pipeline
