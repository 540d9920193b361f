#include "git/git_state.hpp"

namespace runner::git {

// Names and the spelling of the truth values: spec/azure-ml-v1.md.
std::map<std::string, std::string> properties_of(const GitState& state) {
  std::map<std::string, std::string> properties;
  const auto add = [&properties](const char* name, const std::optional<std::string>& value) {
    if (value) properties.emplace(name, *value);
  };
  add("azureml.git.repository_uri", state.repository_uri);
  add("azureml.git.branch", state.branch);
  add("azureml.git.commit", state.commit);
  add("mlflow.source.git.repoURL", state.repository_uri);
  add("mlflow.source.git.branch", state.branch);
  add("mlflow.source.git.commit", state.commit);
  properties.emplace("azureml.git.dirty", state.dirty ? "True" : "False");
  return properties;
}

}  // namespace runner::git
