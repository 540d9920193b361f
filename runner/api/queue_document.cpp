#include "runner/api/queue_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {
namespace {

using nlohmann::ordered_json;

ordered_json cpus_of(std::int64_t millicpus) {
  if (millicpus % 1000 == 0) return millicpus / 1000;
  return static_cast<double>(millicpus) / 1000;
}

}  // namespace

std::string queue_document(const QueueFacts& facts, std::span<const QueuedRun> runs) {
  ordered_json document;
  document["paused"] = facts.held;
  document["heldFor"] = facts.held_for.empty() ? ordered_json(nullptr) : ordered_json(facts.held_for);
  document["cpus"] = {{"total", cpus_of(facts.millicpus)}, {"free", cpus_of(facts.free_millicpus)}};
  document["memoryBytes"] = {{"total", facts.memory_bytes}, {"free", facts.free_memory_bytes}};
  document["gpus"] = {{"total", facts.gpus}, {"free", facts.free_gpus}};
  document["running"] = facts.running;
  document["items"] = ordered_json::array();
  for (const QueuedRun& run : runs)
    document["items"].push_back(
        {{"runId", run.id},
         {"priority", run.priority},
         {"cpus", cpus_of(run.millicpus)},
         {"memoryBytes", run.memory_bytes == 0 ? ordered_json(nullptr) : ordered_json(run.memory_bytes)},
         {"gpus", run.gpus},
         {"reason", run.reason}});
  document["nextToken"] = nullptr;
  return dump(document);
}

}  // namespace runner::api
