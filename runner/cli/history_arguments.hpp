// The options of what asks the history, for arguments.cpp.
#pragma once

#include "runner/cli/options.hpp"

namespace CLI {
class App;
}

namespace runner::cli {

void define(CLI::App& app, ListOptions& options);
void define(CLI::App& app, DiffOptions& options);
void define(CLI::App& app, MetricsOptions& options);
void define(CLI::App& app, ChildrenOptions& options);
void define(CLI::App& app, DeleteOptions& options);
void define(CLI::App& app, SqlOptions& options);
void define(CLI::App& app, BackupOptions& options);
void define(CLI::App& app, TensorboardOptions& options);

}  // namespace runner::cli
