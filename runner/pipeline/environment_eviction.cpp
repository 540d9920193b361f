#include "runner/pipeline/environment_eviction.hpp"

#include <algorithm>

namespace runner::pipeline {
namespace {

bool needs(const RunRecord& run, const store::EnvironmentBuild& build) {
  return run.environment.digest == build.environment &&
         (!run.environment.lock_digest || *run.environment.lock_digest == build.lock);
}

std::string days(std::chrono::milliseconds time) {
  const auto count = std::chrono::duration_cast<std::chrono::days>(time).count();
  return std::to_string(count) + (count == 1 ? " day" : " days");
}

}  // namespace

std::vector<std::pair<store::EnvironmentBuild, std::string>> environments_to_free(
    std::vector<store::EnvironmentBuild> builds, const std::vector<RunRecord>& unfinished, UtcTime now,
    const EnvironmentBudget& budget) {
  std::erase_if(builds, [&](const store::EnvironmentBuild& build) {
    return std::any_of(unfinished.begin(), unfinished.end(), [&](const RunRecord& run) { return needs(run, build); });
  });
  std::sort(builds.begin(), builds.end(), [](const auto& one, const auto& other) { return one.used < other.used; });
  std::int64_t bytes = 0;
  for (const auto& build : builds) bytes += build.bytes;
  std::vector<std::pair<store::EnvironmentBuild, std::string>> freed;
  for (auto& build : builds) {
    const auto unused = std::chrono::duration_cast<std::chrono::milliseconds>(now - build.used);
    std::string why;
    if (unused >= budget.age)
      why = "not used for " + days(unused);
    else if (bytes > budget.bytes)
      why = "environments take more than environment_cache, and this one was not used for the longest time";
    else
      continue;
    bytes -= build.bytes;
    freed.emplace_back(std::move(build), std::move(why));
  }
  return freed;
}

}  // namespace runner::pipeline
