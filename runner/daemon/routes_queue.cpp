// The queue: what waits, in which order, and why.
#include <nlohmann/json.hpp>

#include "runner/api/queue_document.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"

namespace runner::daemon {
namespace {

std::string queue_of(const pipeline::Pipeline& pipeline) {
  const auto queue = pipeline.queue();
  std::vector<api::QueuedRun> runs;
  runs.reserve(queue.state.waiting.size());
  for (std::size_t i = 0; i < queue.state.waiting.size(); ++i) {
    const auto& run = queue.state.waiting[i];
    runs.push_back({.id = run.id,
                    .priority = run.place.priority,
                    .millicpus = run.wanted.millicpus,
                    .memory_bytes = run.wanted.memory,
                    .gpus = run.gpus.ids.empty() ? run.gpus.count : static_cast<int>(run.gpus.ids.size()),
                    .reason = queue.reasons[i]});
  }
  return api::queue_document({.held = queue.state.held,
                              .held_for = queue.state.held_for,
                              .millicpus = queue.state.machine.millicpus,
                              .free_millicpus = queue.state.free.millicpus,
                              .memory_bytes = queue.state.machine.memory,
                              .free_memory_bytes = queue.state.free.memory,
                              .gpus = queue.state.gpus,
                              .free_gpus = queue.state.free_gpus,
                              .running = queue.state.running},
                             runs);
}

}  // namespace

void Routes::queue(const http::Request&, Exchange& exchange) {
  exchange.respond({.status = 200, .body = queue_of(pipeline_)});
}

void Routes::queue_pause(const http::Request&, Exchange& exchange) {
  pipeline_.hold_queue(true);
  exchange.respond({.status = 200, .body = queue_of(pipeline_)});
}

void Routes::queue_resume(const http::Request&, Exchange& exchange) {
  pipeline_.hold_queue(false);
  exchange.respond({.status = 200, .body = queue_of(pipeline_)});
}

void Routes::move(const http::Request& request, Exchange& exchange) {
  using QueueMove = pipeline::Pipeline::QueueMove;
  const std::string id = run_of(request);
  const auto body = body_of(request);
  const auto to = text_in(body, "to");
  const auto before = text_in(body, "before");
  if (to.empty() == before.empty() || (before.empty() && to != "first" && to != "last"))
    throw Error(ErrorCode::kInvalid, "move: wants 'to': \"first\" or \"last\", or 'before': a run");
  const RunRecord run = before.empty() ? pipeline_.move(id, to == "first" ? QueueMove::kFirst : QueueMove::kLast)
                                       : pipeline_.move(id, QueueMove::kBefore, pipeline_.history().resolve(before));
  exchange.respond({.status = 200, .body = document_of(run.id)});
}

}  // namespace runner::daemon
