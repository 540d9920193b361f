// An environment as files, in Azure ML's shape: azureml_environment.json and conda_dependencies.yml (`env scaffold`,
// `env download`, `env register -d`). What Azure has no file for has one that tools know: requirements.txt,
// pyproject.toml, Dockerfile. Pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace runner::api {

inline constexpr const char* kEnvironmentFile = "azureml_environment.json";
inline constexpr const char* kCondaFile = "conda_dependencies.yml";
inline constexpr const char* kRequirementsFile = "requirements.txt";
inline constexpr const char* kProjectFile = "pyproject.toml";

struct EnvironmentDirectory {
  std::map<std::string, std::string> files;  // name → content
  std::vector<std::string> warnings;         // what the files cannot say
};

// A beginning to be filled in.
EnvironmentDirectory scaffold_directory(const std::string& name);

// Registered again, the files are the same environment. `definition` as in environment_document.hpp.
EnvironmentDirectory directory_of(const std::string& name, const std::string& version, std::string_view definition);

}  // namespace runner::api
