// Specifications as rows of the history; the images they begin with. Pure but for the clock. Any thread.
#pragma once

#include <string>
#include <vector>

#include "envs/specification.hpp"
#include "runner/core/run.hpp"
#include "store/environments.hpp"

namespace runner::pipeline {

store::StoredEnvironment environment_row(const envs::Specification& specification, const envs::BuildBase& base);
// A Dockerfile's base images, or the image that a conda environment is for.
std::vector<std::string> images_of(const envs::Specification& specification);

// Whether an environment of this kind is built here; an interpreter and an image are used as they are.
bool needs_build(const envs::Specification& specification);
bool is_built(const EnvironmentRef& environment);

}  // namespace runner::pipeline
