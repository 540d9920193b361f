// JSON of the queue: {"paused", "heldFor", "cpus": {"total", "free"}, "memoryBytes": {"total", "free"}, "gpus":
// {"total", "free"}, "running": [ids], "items": [{"runId", "priority", "cpus", "memoryBytes", "gpus", "reason"}],
// "nextToken": null}. Items are in the order of their turns. What is free is negative while runs of an earlier daemon
// take more than there is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace runner::api {

struct QueueFacts {
  bool held = false;
  std::string held_for;  // by the machine's state; empty: by nothing
  std::int64_t millicpus = 0;
  std::int64_t free_millicpus = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t free_memory_bytes = 0;
  int gpus = 0;
  int free_gpus = 0;
  std::vector<std::string> running;  // ids
};
struct QueuedRun {
  std::string id;
  int priority = 0;
  std::int64_t millicpus = 0;
  std::int64_t memory_bytes = 0;  // 0: it has not said
  int gpus = 0;                   // how many
  std::string reason;
};
std::string queue_document(const QueueFacts& facts, std::span<const QueuedRun> runs);

}  // namespace runner::api
