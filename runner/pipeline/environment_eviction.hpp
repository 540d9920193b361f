// Which environments a `gc` frees. Pure; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runner/core/run.hpp"
#include "store/environments.hpp"

namespace runner::pipeline {

struct EnvironmentBudget {
  std::int64_t bytes = 0;           // of those that stay though no run needs them
  std::chrono::milliseconds age{};  // since the last use
};

// With the reason for people, in the order in which they go. Never one that an unfinished run may need: any of its
// environment as long as the run has not chosen, and then the one with its lock.
std::vector<std::pair<store::EnvironmentBuild, std::string>> environments_to_free(
    std::vector<store::EnvironmentBuild> builds, const std::vector<RunRecord>& unfinished, UtcTime now,
    const EnvironmentBudget& budget);

}  // namespace runner::pipeline
