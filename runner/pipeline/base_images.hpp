// What an environment's image is made from, as an Engine has it now. Blocking; any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "envs/specification.hpp"
#include "runner/engine/engine.hpp"

namespace runner::pipeline {

struct BaseImages {
  std::string ids;              // in order, blanks between
  bool copies_context = false;  // an ONBUILD instruction of one copies from the build context
};
// Nothing as long as one of them is not here. Error(kUnavailable) for one of another platform.
std::optional<BaseImages> look_at_bases(const std::vector<std::string>& images, engine::Engine& engine);

// The build context and its digest, for a Dockerfile that copies from it, or whose bases do: then it is `source`.
// A known digest stays. `cache`: where digests are remembered. Errors as BuildContext.
void take_context(envs::Specification& dockerfile, const BaseImages& bases, const std::string& source,
                  const std::filesystem::path& cache);

}  // namespace runner::pipeline
