// The daemon as a process: one per home, crash-only. Starting after SIGKILL and after a clean stop are the same code.
//
// Threads: main (waits for the end), http-accept and one per connection (runner/daemon/http_server), git-state beside
// one that submits (runner/pipeline/source_reading), run-worker ×4 (runner/pipeline/scheduler), run-watch
// (runner/pipeline/run_watch), and the sandbox's two (runner/exec): the runtime's trial in the first moments, warming
// cgroups when a submission comes. Databases have none (store/group_commit.hpp).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

namespace runner::daemon {

struct DaemonOptions {
  std::filesystem::path home;                   // absolute
  std::optional<std::filesystem::path> socket;  // default: control.sock in the home
};

// Serves until SIGTERM, SIGINT or POST /v1/daemon/stop. `ready` is called once, when requests are answered.
// Errors before that: kConflict (another daemon, a newer schema), kInvalid (socket path, configuration), kPermission,
// kNoSpace. Call from the main thread before any other thread exists: it blocks the signals.
void run_daemon(const DaemonOptions& options, const std::function<void()>& ready);

}  // namespace runner::daemon
