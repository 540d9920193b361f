// The options of `env …`, for arguments.cpp.
#pragma once

#include "runner/cli/options.hpp"

namespace CLI {
class App;
}

namespace runner::cli {

void define(CLI::App& app, EnvRegisterOptions& options);
void define(CLI::App& app, EnvListOptions& options);
void define(CLI::App& app, EnvShowOptions& options);
void define(CLI::App& app, EnvDiffOptions& options);
void define(CLI::App& app, EnvScaffoldOptions& options);
void define(CLI::App& app, EnvDownloadOptions& options);
void define(CLI::App& app, EnvDeleteOptions& options);

}  // namespace runner::cli
