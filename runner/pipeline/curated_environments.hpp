// Environments that come with runner: files beside the Python package, read when they are asked for. NAME.txt is a
// requirements file, NAME.yml a conda file; "# version: N" on a line of its own says which version it is (1). Any
// thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/environments.hpp"

namespace runner::pipeline {

class CuratedEnvironments {
 public:
  explicit CuratedEnvironments(std::filesystem::path directory) : directory_(std::move(directory)) {}

  // As if they were registered, without a time. A file that cannot be read is left out with a warning in the log; a
  // missing directory holds none.
  std::vector<store::RegisteredEnvironment> all() const;  // by name
  std::optional<store::RegisteredEnvironment> find(const std::string& name) const;

 private:
  std::filesystem::path directory_;
};

}  // namespace runner::pipeline
