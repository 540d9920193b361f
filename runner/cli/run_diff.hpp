// What differs between two runs, for people and as JSON: everything but the code itself comes from their documents.
#pragma once

#include <string>
#include <string_view>

#include "runner/cli/document.hpp"

namespace runner::cli {

// Each a list of {name, before, after}, by name; null is absent. With `all` also of what is the same.
// What the script was told (its parameters by name; its arguments as they are where no parameter says the difference),
// and the run's definition: script, limits, mounts, variables, image, isolation, experiment.
Json parameter_differences(const Json& before, const Json& after, bool all = false);
Json environment_differences(const Json& before, const Json& after, bool all = false);
Json git_differences(const Json& before, const Json& after, bool all = false);
Json machine_differences(const Json& before, const Json& after, bool all = false);
// Of two answers of GET …/metrics: the last value as NAME; where there are several also the least and the greatest, as
// NAME.min and NAME.max, and their number, as NAME.count.
Json metric_differences(const Json& before, const Json& after, bool all = false);

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
