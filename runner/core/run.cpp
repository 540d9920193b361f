#include "runner/core/run.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace runner {
namespace {

constexpr std::array<std::pair<RunStatus, std::string_view>, 11> kStatuses{{
    {RunStatus::kNotStarted, "NotStarted"},
    {RunStatus::kPreparing, "Preparing"},
    {RunStatus::kQueued, "Queued"},
    {RunStatus::kStarting, "Starting"},
    {RunStatus::kRunning, "Running"},
    {RunStatus::kPaused, "Paused"},
    {RunStatus::kCancelRequested, "CancelRequested"},
    {RunStatus::kFinalizing, "Finalizing"},
    {RunStatus::kCompleted, "Completed"},
    {RunStatus::kFailed, "Failed"},
    {RunStatus::kCanceled, "Canceled"},
}};

constexpr std::array<std::pair<OutcomeKind, std::string_view>, 10> kOutcomes{{
    {OutcomeKind::kExited, "exited"},
    {OutcomeKind::kSignaled, "signaled"},
    {OutcomeKind::kTimedOut, "timed_out"},
    {OutcomeKind::kOutOfMemory, "out_of_memory"},
    {OutcomeKind::kCanceled, "canceled"},
    {OutcomeKind::kKilled, "killed"},
    {OutcomeKind::kLost, "lost"},
    {OutcomeKind::kHostRebooted, "host_rebooted"},
    {OutcomeKind::kEnvironmentFailed, "environment_failed"},
    {OutcomeKind::kStartFailed, "start_failed"},
}};

constexpr std::array<std::pair<Isolation, std::string_view>, 3> kIsolations{{
    {Isolation::kSandbox, "sandbox"},
    {Isolation::kDocker, "docker"},
    {Isolation::kNone, "none"},
}};

constexpr std::array<std::pair<RunKind, std::string_view>, 3> kKinds{{
    {RunKind::kScript, "script"},
    {RunKind::kChild, "child"},
    {RunKind::kInteractive, "interactive"},
}};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

template <class Table, class Value>
std::string_view name_in(const Table& table, Value value) {
  for (const auto& [key, name] : table)
    if (key == value) return name;
  return "?";
}

template <class Value, std::size_t N>
std::optional<Value> value_in(const std::array<std::pair<Value, std::string_view>, N>& table, std::string_view text) {
  for (const auto& [key, name] : table)
    if (equal_ignoring_case(name, text)) return key;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(RunStatus status) { return name_in(kStatuses, status); }
std::optional<RunStatus> run_status_from(std::string_view text) { return value_in(kStatuses, text); }
bool is_final(RunStatus status) {
  return status == RunStatus::kCompleted || status == RunStatus::kFailed || status == RunStatus::kCanceled;
}

std::string_view to_string(OutcomeKind kind) { return name_in(kOutcomes, kind); }
std::optional<OutcomeKind> outcome_kind_from(std::string_view text) { return value_in(kOutcomes, text); }

std::string_view to_string(RunKind kind) { return name_in(kKinds, kind); }
std::optional<RunKind> run_kind_from(std::string_view text) { return value_in(kKinds, text); }

std::string_view to_string(AfterEnd end) { return end == AfterEnd::kAny ? "any" : "ok"; }

std::string_view to_string(Isolation isolation) { return name_in(kIsolations, isolation); }
std::optional<Isolation> isolation_from(std::string_view text) { return value_in(kIsolations, text); }

int exit_code_of(const Outcome& outcome) {
  switch (outcome.kind) {
    case OutcomeKind::kExited:
      return outcome.exit_code.value_or(125);
    case OutcomeKind::kSignaled:
      return 128 + outcome.signal.value_or(0);
    case OutcomeKind::kTimedOut:
      return 124;
    case OutcomeKind::kOutOfMemory:
      return 137;
    case OutcomeKind::kCanceled:
      return 130;
    default:
      return 125;
  }
}

RunStatus final_status_of(const Outcome& outcome) {
  switch (outcome.kind) {
    case OutcomeKind::kExited:
      return outcome.exit_code == 0 ? RunStatus::kCompleted : RunStatus::kFailed;
    case OutcomeKind::kTimedOut:
    case OutcomeKind::kCanceled:
      return RunStatus::kCanceled;
    default:
      return RunStatus::kFailed;
  }
}

Outcome outcome_of_end(RunStatus final_status, std::string message) {
  Outcome outcome;
  outcome.message = std::move(message);
  outcome.kind = final_status == RunStatus::kCanceled ? OutcomeKind::kCanceled : OutcomeKind::kExited;
  if (outcome.kind == OutcomeKind::kExited) outcome.exit_code = final_status == RunStatus::kCompleted ? 0 : 1;
  return outcome;
}

}  // namespace runner
