// The queue as runs see it: what each takes of the machine, whose end it waits for, and where it stands.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "runner/core/error.hpp"
#include "runner/os/machine.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {
namespace {

constexpr std::string_view kMoving = "move ";

Error not_waiting(const RunRecord& run) {
  return Error(
      ErrorCode::kConflict,
      std::string(kMoving) + run.id + ": it does not wait in the queue: it is " + std::string(to_string(run.status)),
      "`runner queue list` shows those that do");
}

}  // namespace

Resources Pipeline::shared_resources(const Configuration& configuration) {
  return {configuration.millicpus > 0 ? configuration.millicpus : std::int64_t{os::usable_cpus()} * 1000,
          configuration.memory_bytes > 0 ? configuration.memory_bytes : os::physical_memory()};
}

// Without --gpus a run has all there are, as on a machine of its own.
GpuWish Pipeline::gpus_wanted(const RunDefinition& definition) const {
  if (!definition.gpus || (!definition.gpus->count && definition.gpus->ids.empty()))
    return {.count = gpu_slots_.count(gpu_slots_.all())};
  return {.count = definition.gpus->count.value_or(0), .ids = definition.gpus->ids};
}

// Without --cpus a run has its share of the machine: all of it, or one part of `parallel`.
Resources Pipeline::resources_of(const RunDefinition& definition) const {
  Resources wanted;
  wanted.millicpus = definition.cpus ? static_cast<std::int64_t>(std::ceil(*definition.cpus * 1000))
                                     : machine_.millicpus / configuration_.parallel;
  constexpr std::int64_t kLeastWithin = 100;  // of a script's runs: as many of them live at once as it has tenths
  wanted.millicpus = std::max<std::int64_t>(wanted.millicpus, definition.within.empty() ? 1 : kLeastWithin);
  if (definition.memory_bytes) wanted.memory = *definition.memory_bytes;
  return wanted;
}

void Pipeline::enqueue(const RunRecord& run) {
  const RunDefinition& definition = run.definition;
  RunQueue::Waiting waiting{.id = run.id, .place = run.queue, .wanted = resources_of(definition)};
  waiting.gpus = gpus_wanted(definition);
  if (definition.max_run_duration) waiting.limit = *definition.max_run_duration + definition.grace;
  waiting.after = definition.after;
  waiting.within = definition.within;
  scheduler_->enqueue(std::move(waiting));
  // What ended before it had its place in the queue.
  for (const auto& [other, end] : definition.after) {
    try {
      if (const RunRecord before = history_.get(other); is_final(before.status)) settle_dependents(before);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      scheduler_->ended(other, true);  // deleted, so nobody waited for it: this one has started once
    }
  }
}

void Pipeline::occupy(const RunRecord& run) {
  std::optional<std::chrono::milliseconds> left;
  if (const auto& limit = run.definition.max_run_duration) {
    const auto gone = run.started ? std::chrono::duration_cast<std::chrono::milliseconds>(utc_now() - *run.started)
                                  : std::chrono::milliseconds{0};
    left = std::max(*limit + run.definition.grace - gone, std::chrono::milliseconds{0});
  }
  scheduler_->occupy(run.id, resources_of(run.definition), run.gpus, left, run.definition.within);
}

// `run` has ended: those that come after it may start, or never will.
void Pipeline::settle_dependents(const RunRecord& run) {
  const std::string reason = "it comes after " + run.id + ", which ended as " + std::string(to_string(run.status));
  for (const std::string& id : scheduler_->ended(run.id, run.status == RunStatus::kCompleted))
    scheduler_->post([this, id, reason] {  // not at once: a chain of them may be long
      try {
        end(history_.get(id), Outcome{.kind = OutcomeKind::kCanceled, .message = reason}, std::nullopt, {});
      } catch (const Error& error) {
        spdlog::error("run {}: {}; its end could not be written: {}", id, reason, error.message());
        watch_->retry_ended(id, std::chrono::seconds{10});  // finish() finds no claim and queues it again
      }
    });
}

// Names as they were given become ids. Refuses what can never be.
void Pipeline::resolve_dependencies(RunDefinition& definition) const {
  std::map<std::string, AfterEnd> after;
  for (const auto& [name, end] : definition.after) {
    const RunRecord run = [&, &name = name] {
      try {
        return history_.get(history_.resolve(name));
      } catch (const Error& error) {
        throw error.within("--after " + name);
      }
    }();
    if (end == AfterEnd::kSuccess && is_final(run.status) && run.status != RunStatus::kCompleted)
      throw Error(ErrorCode::kConflict,
                  "--after " + name + ": " + run.id + " has ended as " + std::string(to_string(run.status)),
                  "--after " + name + ":any takes any end");
    const auto [known, added] = after.emplace(run.id, end);
    if (!added && end == AfterEnd::kSuccess) known->second = end;
  }
  definition.after = std::move(after);
}

std::string Pipeline::waiting_reason(const RunRecord& run) const {
  if (run.status != RunStatus::kQueued || !run.status_reason.empty()) return run.status_reason;
  return scheduler_->why(run.id);
}

Pipeline::QueueState Pipeline::queue() const {
  QueueState queue{.state = scheduler_->state(), .reasons = {}};
  queue.reasons.reserve(queue.state.waiting.size());
  for (const RunQueue::Waiting& run : queue.state.waiting) queue.reasons.push_back(scheduler_->why(run.id));
  return queue;
}

void Pipeline::hold_queue(bool held) {
  history_.hold_queue(held);
  scheduler_->hold(held);
}

RunRecord Pipeline::move(const std::string& id, QueueMove where, const std::string& other) {
  return moves_.with([&](int& moves) {
    auto waiting = scheduler_->state().waiting;
    const auto is = [](const std::string& wanted) {
      return [&wanted](const RunQueue::Waiting& run) { return run.id == wanted; };
    };
    if (std::none_of(waiting.begin(), waiting.end(), is(id))) throw not_waiting(history_.get(id));
    if (id == other)
      throw Error(ErrorCode::kInvalid, std::string(kMoving) + id + ": before itself", "name another run");
    std::erase_if(waiting, is(id));
    QueuePlace place;
    if (waiting.empty() && where != QueueMove::kBefore) return history_.get(id);
    if (where == QueueMove::kFirst) {
      place = {waiting.front().place.priority, waiting.front().place.position - 1};
    } else if (where == QueueMove::kLast) {
      // Whoever comes next is behind it: positions of runs that were not moved are whole numbers.
      place = {waiting.back().place.priority, waiting.back().place.position + 0.5};
    } else {
      const auto at = std::find_if(waiting.begin(), waiting.end(), is(other));
      if (at == waiting.end()) throw not_waiting(history_.get(other));
      place = {at->place.priority, at->place.position - 1};
      if (at != waiting.begin() && std::prev(at)->place.priority == place.priority) {
        const double before = std::prev(at)->place.position;
        place.position = before + (at->place.position - before) / 2;
        if (place.position <= before || place.position >= at->place.position)
          throw Error(ErrorCode::kConflict, std::string(kMoving) + id + ": there is no room left before " + other,
                      "move " + other + " first");
      }
    }
    ++moves;
    if (!history_.set_queue_place(id, place) || !scheduler_->move(id, place)) throw not_waiting(history_.get(id));
    return history_.get(id);
  });
}

}  // namespace runner::pipeline
