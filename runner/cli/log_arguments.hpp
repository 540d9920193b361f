// The options of `logs` beside the run's name, for arguments.cpp.
#pragma once

#include "runner/cli/options.hpp"

namespace CLI {
class App;
}

namespace runner::cli {

void define_log(CLI::App& app, LogsOptions& options);

}  // namespace runner::cli
