// Why a failed script may not have found a file: it exists on the host but not in the sandbox.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace runner::pipeline {

// Looks through the end of a log for "No such file or directory" and the like, and returns the first absolute path
// named on such a line that `exists_on_host`. The log is the script's own text: the answer is a hint, never acted upon.
std::optional<std::string> hidden_path_in(std::string_view log_end,
                                          const std::function<bool(const std::string&)>& exists_on_host);

}  // namespace runner::pipeline
