// What differs between two runs, for people and as JSON: everything but the code itself comes from their documents.
#pragma once

#include <string>
#include <string_view>

#include "runner/cli/document.hpp"

namespace runner::cli {

// Each a list of {name, before, after}, by name; null is absent.
// Of the run's definition: script, arguments, limits, mounts, variables, image, isolation, experiment.
Json parameter_differences(const Json& before, const Json& after);
Json environment_differences(const Json& before, const Json& after);
Json git_differences(const Json& before, const Json& after);
Json metric_differences(const Json& before, const Json& after);  // last values

// The answer of GET …/code-diff as `git diff --stat` would show it.
std::string code_stat(const Json& code, std::size_t width);

// Makes a patch fit for a terminal, line by line as it comes, whatever pieces it comes in: colours, and nothing that
// would steer the terminal.
class PatchPainter {
 public:
  // The piece with colours, as far as its lines are complete.
  std::string paint(std::string_view piece);
  std::string rest();  // what was left without a line's end

 private:
  std::string line(std::string_view raw);
  std::string unfinished_;
  bool in_hunk_ = false;
};

}  // namespace runner::cli
