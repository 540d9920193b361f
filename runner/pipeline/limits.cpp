// What a run asks of the machine against what this machine has, before the run exists.
#include <algorithm>

#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {

// A limit that cannot be enforced is an error, or with --best-effort-limits a notice of the run.
void Pipeline::settle_limits(const std::vector<exec::UnenforcedLimit>& limits, Admission& admission) const {
  RunDefinition& definition = admission.run.definition;
  for (const exec::UnenforcedLimit& limit : limits) {
    if (!definition.best_effort_limits)
      throw Error(ErrorCode::kUnavailable, limit.option + ": " + limit.reason,
                  limit.hint + "; or --best-effort-limits, to run without this limit");
    definition.unenforced.push_back(limit.option);
    admission.notices.push_back(limit.option + " is not enforced: " + limit.reason);
  }
}

// What is left to its isolation: the queue still counts what it said it needs.
RunDefinition Pipeline::enforced(RunDefinition definition) {
  for (const std::string& option : definition.unenforced) {
    if (option == "--memory") definition.memory_bytes.reset();
    if (option == "--pids") definition.pids.reset();
    if (option == "--cpus") definition.cpus.reset();
  }
  return definition;
}

// Ids become those of the inventory. What is not given means all there are.
void Pipeline::settle_gpus(RunDefinition& definition) const {
  if (!definition.gpus) return;
  GpuRequest& request = *definition.gpus;
  std::vector<std::string> shared;  // each once, in their order
  std::string names;
  for (const std::string& id : gpu_slots_.ids(gpu_slots_.all())) {
    if (std::find(shared.begin(), shared.end(), id) != shared.end()) continue;
    names += (names.empty() ? "" : ", ") + id;
    shared.push_back(id);
  }
  const bool wants_any = !request.ids.empty() || request.count.value_or(1) > 0;
  if (wants_any && shared.empty())
    throw Error(ErrorCode::kUnavailable, "--gpus: no GPU was found on this machine",
                "`runner doctor` says where it was looked for; --gpus none runs without");
  const int there = static_cast<int>(shared.size());
  if (request.count.value_or(0) > there)
    throw Error(ErrorCode::kUnavailable,
                "--gpus " + std::to_string(*request.count) + ": there " + (there == 1 ? "is " : "are ") +
                    std::to_string(there) + " on this machine: " + names,
                "ask for fewer, or all");
  for (std::string& id : request.ids) {
    if (const exec::Gpu* gpu = gpus_.find(id)) id = gpu->id;
    if (std::find(shared.begin(), shared.end(), id) == shared.end())
      throw Error(ErrorCode::kUnavailable, "--gpus: there is no GPU '" + id + "' here", "there are " + names);
  }
}

// What the run was given, out of the inventory.
std::vector<exec::Gpu> Pipeline::gpus_of(const RunRecord& run) const {
  std::vector<exec::Gpu> gpus;
  for (const std::string& id : run.gpus) {
    if (const exec::Gpu* gpu = gpus_.find(id))
      gpus.push_back(*gpu);
    else if (run.definition.isolation == Isolation::kDocker)
      gpus.push_back({.id = id, .other_names = {}, .kind = exec::kNvidiaGpu, .edits = {}});  // the Engine may know it
    else
      throw Error(ErrorCode::kUnavailable, "GPU " + id + ": named in the configuration, but not found on this machine",
                  "`runner doctor` says which were");
  }
  return gpus;
}

}  // namespace runner::pipeline
