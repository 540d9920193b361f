// What is to be registered, read. Files only; nothing is written. Any thread.
#pragma once

#include <string>
#include <vector>

#include "envs/specification_files.hpp"
#include "runner/api/environment_document.hpp"

namespace runner::pipeline {

struct EnvironmentSource {
  std::string name;              // the registration's, else the directory's; may be empty
  envs::ReadSpecification read;  // with its warnings
};

// Error(kInvalid) when nothing or more than one thing is named, and as the files' readers throw it.
EnvironmentSource read_environment_source(const api::EnvironmentRegistration& registration);

}  // namespace runner::pipeline
