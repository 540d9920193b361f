#include "runner/shim/outcome.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <string_view>

namespace runner::shim {
namespace {

constexpr int exited(int code) { return code << 8; }
constexpr int signalled(int number) { return number; }

InitRecord ended(int status) {
  InitRecord record;
  record.event = InitEvent::kEnded;
  record.value = status;
  record.user_micros = 1'500'000;
  record.system_micros = 500'000;
  record.peak_kib = 2048;
  return record;
}

EndFacts running() {
  EndFacts facts;
  facts.started = true;
  facts.script_name = "train.py";
  facts.grace = std::chrono::seconds(10);
  return facts;
}

InitRecord failed(InitStep step, int error) {
  InitRecord record;
  record.event = InitEvent::kExecFailed;
  record.value = error;
  record.detail = static_cast<std::uint32_t>(step);
  return record;
}

EngineRecord engine_says(int exit_code, std::string_view words = {}) {
  EngineRecord record;
  record.exit_code = exit_code;
  std::copy(words.begin(), words.end(), record.words.begin());
  return record;
}

}  // namespace

TEST_CASE("a script that exits has its code and the usage that init saw") {
  EndFacts facts = running();
  facts.end = ended(exited(3));
  const Outcome outcome = judge(facts);
  CHECK(outcome.kind == OutcomeKind::kExited);
  CHECK(outcome.exit_code == 3);
  CHECK(outcome.message.empty());
  CHECK(outcome.usage.cpu_seconds == 2.0);
  CHECK(outcome.usage.peak_memory_bytes == 2048 * 1024);
}

TEST_CASE("the cgroup's usage counts before init's") {
  EndFacts facts = running();
  facts.end = ended(exited(0));
  facts.usage = {.peak_memory_bytes = 7, .cpu_seconds = 0.5, .oom_kills = 0};
  CHECK(judge(facts).usage.peak_memory_bytes == 7);
  CHECK(judge(facts).usage.cpu_seconds == 0.5);
}

TEST_CASE("a signal is a signal, and memory only with the kernel's word for it") {
  EndFacts facts = running();
  facts.end = ended(signalled(9));
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
  CHECK(judge(facts).message == "died of SIGKILL (Killed)");
  facts.usage.oom_kills = 1;
  facts.memory_limit = 512 << 20;
  CHECK(judge(facts).kind == OutcomeKind::kOutOfMemory);
  CHECK(judge(facts).message == "killed for memory (limit 512.0 MiB, peak 2.0 MiB)");
  facts.end = ended(signalled(11));
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
}

TEST_CASE("without a memory cgroup the machine's counter tells an out-of-memory kill") {
  EndFacts facts = running();
  facts.end = ended(signalled(9));
  facts.machine_oom = true;
  CHECK(judge(facts).kind == OutcomeKind::kOutOfMemory);
  CHECK(judge(facts).message == "killed for memory (peak 2.0 MiB)");
  facts.sampled.peak_memory_bytes = 3 << 20;  // of all processes, not of the largest
  CHECK(judge(facts).message == "killed for memory (peak 3.0 MiB)");
  facts.usage.peak_memory_bytes = 1;  // an own cgroup knows better
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
  facts.usage.peak_memory_bytes.reset();
  facts.end = ended(exited(1));
  CHECK(judge(facts).kind == OutcomeKind::kExited);
  CHECK(judge(facts).message.empty());
}

TEST_CASE("a child killed for memory is told, and the script's own end counts") {
  EndFacts facts = running();
  facts.end = ended(exited(0));
  facts.usage.oom_kills = 1;
  CHECK(judge(facts).kind == OutcomeKind::kExited);
  CHECK(judge(facts).exit_code == 0);
  CHECK(judge(facts).message == "a child process was killed for memory (peak 2.0 MiB)");
}

TEST_CASE("an init that ended without a word was killed by the host, or for memory") {
  EndFacts facts = running();
  CHECK(judge(facts).kind == OutcomeKind::kKilled);
  facts.usage.oom_kills = 1;
  CHECK(judge(facts).kind == OutcomeKind::kOutOfMemory);
}

TEST_CASE("what the supervisor ordered decides, and the script's own end is kept") {
  EndFacts facts = running();
  facts.max_run_duration = std::chrono::seconds(2);
  facts.ordered = OrderedEnd{.kind = OutcomeKind::kTimedOut, .reason = {}, .killed = false};
  facts.end = ended(exited(0));
  CHECK(judge(facts).kind == OutcomeKind::kTimedOut);
  CHECK(judge(facts).exit_code == 0);
  CHECK(judge(facts).message == "exceeded its maximum duration of 2.0s; ended by SIGTERM");
  facts.ordered->killed = true;
  facts.end.reset();
  CHECK(judge(facts).message == "exceeded its maximum duration of 2.0s; killed after a grace of 10.0s");
  facts.ordered = OrderedEnd{.kind = OutcomeKind::kCanceled, .reason = "cancelled by user dev", .killed = false};
  facts.started = false;
  CHECK(judge(facts).message == "cancelled by user dev; it had not started yet");
}

TEST_CASE("a script that could not be started says why in one line") {
  EndFacts facts = running();
  facts.started = false;
  InitRecord failure;
  failure.event = InitEvent::kExecFailed;
  failure.value = ENOENT;
  failure.detail = static_cast<std::uint32_t>(InitStep::kExec);
  facts.exec_failure = failure;
  CHECK(judge(facts).kind == OutcomeKind::kStartFailed);
  CHECK(judge(facts).message == "could not start train.py: No such file or directory");
  facts.exec_failure->detail = static_cast<std::uint32_t>(InitStep::kInterpreter);
  CHECK(judge(facts).message ==
        "could not start train.py: its first line names an interpreter that does not exist here");
}

TEST_CASE("a runtime that failed is quoted, or its status told") {
  EndFacts facts;
  facts.runtime_words = "mount `overlay` to `x`: Invalid argument";
  CHECK(judge(facts).kind == OutcomeKind::kStartFailed);
  CHECK(judge(facts).message == facts.runtime_words);
  facts.runtime_words.clear();
  facts.runtime_status = exited(1);
  CHECK(judge(facts).message == "the OCI runtime ended with status 1 and without a word");
  facts.usage.oom_kills = 1;
  facts.memory_limit = 1 << 20;
  CHECK(judge(facts).message == "out of memory before the script started (limit 1.0 MiB)");
}

TEST_CASE("lost log bytes are told beside whatever else there is to say") {
  EndFacts facts = running();
  facts.end = ended(exited(0));
  facts.lost_log_bytes = 2048;
  facts.lost_log_reason = "No space left on device";
  CHECK(judge(facts).message == "2.0 KiB of its log could not be written: No space left on device");
}

TEST_CASE("an image without any of the programs is named with all of them") {
  EndFacts facts = running();
  facts.started = false;
  facts.image = "alpine";
  facts.candidates = {"python3", "python"};
  facts.exec_failure = failed(InitStep::kCandidates, ENOENT);
  CHECK(judge(facts).kind == OutcomeKind::kStartFailed);
  CHECK(judge(facts).message == "could not start train.py: image alpine has neither python3 nor python on its PATH");
  facts.candidates = {"sh"};
  CHECK(judge(facts).message == "could not start train.py: image alpine has no sh on its PATH");
}

TEST_CASE("a program that an image lacks is said to be missing there, other reasons are the system's") {
  EndFacts facts = running();
  facts.started = false;
  facts.image = "alpine";
  facts.exec_failure = failed(InitStep::kExec, ENOENT);
  CHECK(judge(facts).message == "could not start train.py: image alpine has no such program");
  facts.exec_failure = failed(InitStep::kExec, EACCES);
  CHECK(judge(facts).message == "could not start train.py: Permission denied");
  facts.exec_failure = failed(InitStep::kExec, ENOEXEC);
  CHECK(judge(facts).message == "could not start train.py: Exec format error");
}

TEST_CASE("a container without its working directory, secrets or log says which") {
  EndFacts facts = running();
  facts.started = false;
  facts.exec_failure = failed(InitStep::kWorkingDirectory, 0);
  CHECK(judge(facts).kind == OutcomeKind::kStartFailed);
  CHECK(judge(facts).message ==
        "the container engine did not mount the working directory (it knows no overlay volumes)");
  facts.exec_failure = failed(InitStep::kSecrets, ENOSPC);
  CHECK(judge(facts).message == "could not write the secrets in the container: No space left on device");
  facts.exec_failure = failed(InitStep::kOpenLog, ENXIO);
  CHECK(judge(facts).message == "could not open the log in the container: No such device or address");
}

TEST_CASE("a container that ended before its script started says what the engine knows") {
  EndFacts facts;
  facts.engine = engine_says(125);
  CHECK(judge(facts).kind == OutcomeKind::kStartFailed);
  CHECK(
      judge(facts).message ==
      "runner-init found no way from the container to its supervisor: does the container engine run on this machine?");
  facts.engine = engine_says(127, "exec: no such file");
  CHECK(judge(facts).message == "its container ended with status 127 before the script started: exec: no such file");
  facts.engine = engine_says(127);
  CHECK(judge(facts).message == "its container ended with status 127 before the script started");
  facts.engine->removed = true;
  CHECK(judge(facts).message == "its container was removed from outside of the runner before the script started");
  facts.runtime_words = "create the container: no such image";
  CHECK(judge(facts).message == facts.runtime_words);
}

TEST_CASE("a container killed or removed from outside is told apart") {
  EndFacts facts = running();
  CHECK(judge(facts).message == "the container was killed from outside of the runner");
  facts.engine = engine_says(137);
  CHECK(judge(facts).kind == OutcomeKind::kKilled);
  CHECK(judge(facts).message == "the container was killed from outside of the runner");
  facts.engine->removed = true;
  CHECK(judge(facts).kind == OutcomeKind::kKilled);
  CHECK(judge(facts).message == "the container was removed from outside of the runner");
}

TEST_CASE("memory that only the engine knows of is memory") {
  EndFacts facts = running();
  facts.memory_limit = 64 << 20;
  facts.engine = engine_says(137);
  facts.engine->out_of_memory = true;
  CHECK(judge(facts).kind == OutcomeKind::kOutOfMemory);
  CHECK(judge(facts).signal == 9);
  CHECK(judge(facts).message == "killed for memory (limit 64.0 MiB)");
  facts.end = ended(signalled(9));
  CHECK(judge(facts).kind == OutcomeKind::kOutOfMemory);
  facts.end = ended(exited(0));
  CHECK(judge(facts).kind == OutcomeKind::kExited);
  CHECK(judge(facts).message == "a child process was killed for memory (limit 64.0 MiB, peak 2.0 MiB)");
}

TEST_CASE("somebody else's out-of-memory kill says nothing about a container of an engine") {
  EndFacts facts = running();
  facts.image = "python:3";
  facts.machine_oom = true;
  CHECK(judge(facts).kind == OutcomeKind::kKilled);
  facts.engine = engine_says(137);
  CHECK(judge(facts).kind == OutcomeKind::kKilled);
  facts.end = ended(signalled(9));
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
}

TEST_CASE("a script that dies of a signal sent from outside says so, as one that only got it") {
  EndFacts facts = running();
  facts.end = ended(signalled(15));
  facts.end->detail = 15;
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
  CHECK(judge(facts).signal == 15);
  CHECK(judge(facts).message == "died of SIGTERM (Terminated), sent from outside of the runner");
  facts.end = ended(signalled(11));  // of its own
  facts.end->detail = 15;
  CHECK(judge(facts).kind == OutcomeKind::kSignaled);
  CHECK(judge(facts).message == "died of SIGSEGV (Segmentation fault)");
  facts.end = ended(exited(143));  // it caught it
  facts.end->detail = 15;
  CHECK(judge(facts).kind == OutcomeKind::kExited);
  CHECK(judge(facts).exit_code == 143);
  CHECK(judge(facts).message == "after SIGTERM (Terminated) from outside of the runner");
}

TEST_CASE("what was ordered counts before what the engine says of it") {
  EndFacts facts = running();
  facts.ordered = OrderedEnd{.kind = OutcomeKind::kCanceled, .reason = "cancelled by user dev", .killed = true};
  facts.engine = engine_says(137);
  facts.engine->out_of_memory = true;
  CHECK(judge(facts).kind == OutcomeKind::kCanceled);
  CHECK(judge(facts).message == "cancelled by user dev; killed after a grace of 10.0s");
}

}  // namespace runner::shim
