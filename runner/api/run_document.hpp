// JSON of runs as cli.md's `show --json` and `list --json` promise it. Text that is not UTF-8 is written with U+FFFD.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/api/metric_document.hpp"
#include "runner/core/run.hpp"

namespace runner::api {

struct RunDetails {
  std::vector<MetricSeries> metrics;
  std::vector<Artifact> artifacts;
  std::vector<std::string> notices;
  std::vector<std::pair<std::string, std::string>> parameters{};  // out of its arguments
  bool log_exists = false;                                        // a live run's log, not yet an artifact
  std::optional<ResourceUsage> usage_so_far{};                    // of a live run
};

std::string run_document(const RunRecord& run, const RunDetails& details);
// The same of a run that does not exist yet, as far as it is known: experiment, name, tags, properties, parentRunId,
// priority, git, environment, isolation, runDefinition.
std::string planned_run_document(const RunRecord& run);
struct ListedRun {
  RunRecord run;
  std::vector<MetricSeries> last_metrics;  // one point or row each
};
// `warnings`: what is not in the list, and why. `next`: where its next page begins.
std::string run_list_document(std::span<const ListedRun> runs, std::span<const std::string> warnings = {},
                              const std::optional<std::string>& next = {});

std::string artifact_list_document(std::span<const Artifact> artifacts);
std::string name_list_document(std::span<const std::string> names);
struct CheckRow {
  std::string name;
  bool works = false;
  std::string detail;
  std::string remedy;
};
std::string check_list_document(std::span<const CheckRow> rows);
struct DaemonFacts {
  int pid = 0;
  std::string home;
  std::string socket;
  std::string version;
  UtcTime started{};
};
std::string daemon_document(const DaemonFacts& facts);

}  // namespace runner::api
