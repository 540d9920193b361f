#include "runner/shim/outcome.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runner/core/time.hpp"

namespace runner::shim {
namespace {

// "SIGKILL" where the C library knows the name.
std::string name_of_signal(int number) {
  const char* abbreviation = ::sigabbrev_np(number);
  return abbreviation != nullptr ? std::string("SIG") + abbreviation : "signal " + std::to_string(number);
}

std::string describe_signal(int number) {
  const char* meaning = ::sigdescr_np(number);
  return name_of_signal(number) + (meaning != nullptr ? std::string(" (") + meaning + ")" : "");
}

// What the run had, and the most that it took.
std::string limit_text(const EndFacts& facts) {
  std::string text;
  if (facts.memory_limit) text = "limit " + format_size(*facts.memory_limit);
  auto peak = facts.usage.peak_memory_bytes ? facts.usage.peak_memory_bytes : facts.sampled.peak_memory_bytes;
  if (!peak && facts.end) peak = facts.end->peak_kib * 1024;
  if (peak) text += (text.empty() ? "peak " : ", peak ") + format_size(*peak);
  return text.empty() ? text : " (" + text + ")";
}

std::string manner_of_end(const EndFacts& facts) {
  if (facts.ordered->killed) return "killed after a grace of " + format_duration(facts.grace);
  const bool aborted = facts.end && WIFSIGNALED(facts.end->value) && WTERMSIG(facts.end->value) == SIGABRT;
  return facts.ordered->asked_for_stacks && aborted ? "ended by SIGABRT, which showed its stack" : "ended by SIGTERM";
}

void add_sentence(std::string& message, const std::string& sentence) {
  if (!message.empty()) message += "; ";
  message += sentence;
}

std::string one_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : " nor ") + names[i];
  return names.size() > 1 ? "neither " + text : "no " + text;
}

void judge_exec_failure(const EndFacts& facts, Outcome& outcome) {
  const InitRecord& failure = *facts.exec_failure;
  outcome.kind = OutcomeKind::kStartFailed;
  const std::string why = std::strerror(failure.value);
  const std::string could_not_start = "could not start " + facts.script_name + ": ";
  switch (static_cast<InitStep>(failure.detail)) {
    case InitStep::kOpenLog:
      outcome.message = "could not open the log in the container: " + why;
      return;
    case InitStep::kInterpreter:
      outcome.message = could_not_start + "its first line names an interpreter that does not exist here";
      return;
    case InitStep::kCandidates:
      outcome.message = could_not_start + "image " + facts.image + " has " + one_of(facts.candidates) + " on its PATH";
      return;
    case InitStep::kWorkingDirectory:
      outcome.message = "the container engine did not mount the working directory (it knows no overlay volumes)";
      return;
    case InitStep::kSecrets:
      outcome.message = "could not write the secrets in the container: " + why;
      return;
    case InitStep::kExec:
      break;
  }
  outcome.message = could_not_start + why;
  if (!facts.image.empty() && failure.value == ENOENT)
    outcome.message = could_not_start + "image " + facts.image + " has no such program";
}

void judge_no_start(const EndFacts& facts, Outcome& outcome) {
  outcome.kind = OutcomeKind::kStartFailed;
  outcome.message = facts.runtime_words;
  if (!outcome.message.empty()) return;
  const std::string runtime = facts.image.empty() ? "the OCI runtime" : "runner-engine, which makes the container,";
  if (facts.usage.oom_kills > 0)
    outcome.message = "out of memory before the script started" + limit_text(facts);
  else if (facts.engine && facts.engine->removed)
    outcome.message = "its container was removed from outside of the runner before the script started";
  else if (facts.engine && facts.engine->exit_code == kLostShimStatus)
    outcome.message =
        "runner-init found no way from the container to its supervisor: does the container engine run on this machine?";
  else if (facts.engine)
    outcome.message = "its container ended with status " + std::to_string(facts.engine->exit_code) +
                      " before the script started" +
                      (facts.engine->words.front() != '\0' ? std::string(": ") + facts.engine->words.data() : "");
  else if (WIFSIGNALED(facts.runtime_status))
    outcome.message = runtime + " was killed by " + describe_signal(WTERMSIG(facts.runtime_status));
  else
    outcome.message =
        runtime + " ended with status " + std::to_string(WEXITSTATUS(facts.runtime_status)) + " and without a word";
}

void judge_ordered(const EndFacts& facts, Outcome& outcome) {
  outcome.kind = facts.ordered->kind;
  if (outcome.kind == OutcomeKind::kTimedOut) {
    outcome.message = "exceeded its maximum duration";
    if (facts.max_run_duration) outcome.message += " of " + format_duration(*facts.max_run_duration);
  } else {
    outcome.message = facts.ordered->reason;
  }
  add_sentence(outcome.message, facts.started ? manner_of_end(facts) : "it had not started yet");
}

// Given that something of the run died of SIGKILL. Without a memory cgroup of its own the machine's counter has to do:
// that both happened at the same time by chance is much less likely than that one was the other.
bool killed_for_memory(const EndFacts& facts) {
  // An Engine's container always has a cgroup, and the Engine's word for it when that is gone.
  if (facts.engine || !facts.image.empty())
    return facts.usage.oom_kills > 0 || (facts.engine && facts.engine->out_of_memory);
  return facts.usage.oom_kills > 0 || (!facts.usage.peak_memory_bytes && facts.machine_oom);
}

// The script was left alone and its init ended.
void judge_own_end(const EndFacts& facts, Outcome& outcome) {
  if (!facts.end) {
    // Init itself was killed. The kernel does that for memory; otherwise somebody on the host did.
    const bool memory = killed_for_memory(facts);
    outcome.kind = memory ? OutcomeKind::kOutOfMemory : OutcomeKind::kKilled;
    outcome.message = memory ? "killed for memory" + limit_text(facts)
                             : std::string(facts.engine && facts.engine->removed ? "the container was removed"
                                                                                 : "the container was killed") +
                                   " from outside of the runner";
    if (memory) outcome.signal = SIGKILL;
    return;
  }
  const int status = facts.end->value;
  const auto sent = static_cast<int>(facts.end->detail);
  if (WIFSIGNALED(status)) {
    outcome.kind =
        WTERMSIG(status) == SIGKILL && killed_for_memory(facts) ? OutcomeKind::kOutOfMemory : OutcomeKind::kSignaled;
    outcome.message = outcome.kind == OutcomeKind::kOutOfMemory ? "killed for memory" + limit_text(facts)
                                                                : "died of " + describe_signal(WTERMSIG(status));
    if (sent == WTERMSIG(status)) outcome.message += ", sent from outside of the runner";
    return;
  }
  outcome.kind = OutcomeKind::kExited;
  const bool child_killed = facts.usage.oom_kills > 0 || (facts.engine && facts.engine->out_of_memory);
  if (child_killed) outcome.message = "a child process was killed for memory" + limit_text(facts);
  if (sent != 0) add_sentence(outcome.message, "after " + describe_signal(sent) + " from outside of the runner");
}

void add_usage(const EndFacts& facts, Outcome& outcome) {
  ResourceUsage& usage = outcome.usage = facts.sampled;
  if (facts.end && !facts.usage.peak_memory_bytes)
    usage.peak_memory_bytes = std::max(usage.peak_memory_bytes.value_or(0), facts.end->peak_kib * 1024);
  if (facts.end && !facts.usage.cpu_seconds)
    usage.cpu_seconds = static_cast<double>(facts.end->user_micros + facts.end->system_micros) / 1e6;
  if (facts.usage.peak_memory_bytes) usage.peak_memory_bytes = facts.usage.peak_memory_bytes;
  if (facts.usage.cpu_seconds) usage.cpu_seconds = facts.usage.cpu_seconds;
  if (!usage.cpu_seconds || facts.running_seconds <= 0) return;
  usage.mean_cpus = *usage.cpu_seconds / facts.running_seconds;
  usage.peak_cpus = std::max(usage.peak_cpus.value_or(0), *usage.mean_cpus);
}

}  // namespace

Outcome judge(const EndFacts& facts) {
  Outcome outcome;
  if (facts.end) {
    const int status = facts.end->value;
    if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
    if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  }
  if (facts.ordered)
    judge_ordered(facts, outcome);
  else if (facts.exec_failure)
    judge_exec_failure(facts, outcome);
  else if (!facts.started)
    judge_no_start(facts, outcome);
  else
    judge_own_end(facts, outcome);
  add_usage(facts, outcome);
  if (facts.lost_log_bytes == 0 && !facts.lost_log_reason.empty())
    add_sentence(outcome.message, "its log may not be whole: " + facts.lost_log_reason);
  if (facts.lost_log_bytes > 0)
    add_sentence(outcome.message,
                 format_size(facts.lost_log_bytes) + " of its log could not be written: " + facts.lost_log_reason);
  return outcome;
}

}  // namespace runner::shim
