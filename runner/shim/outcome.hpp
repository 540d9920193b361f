// How a run ended, from what its shim saw. Pure: every rule of cli.md's outcome kinds that the shim decides is here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/os/cgroup.hpp"
#include "runner/shim/engine_protocol.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::shim {

// The shim's own decision to end the run.
struct OrderedEnd {
  OutcomeKind kind = OutcomeKind::kCanceled;  // kTimedOut, kCanceled or kKilled (`runner run fail`)
  std::string reason;                         // for kCanceled and kKilled: "cancelled by user dev"
  bool gives_way = false;                     // of kCanceled: only this attempt
  bool killed = false;                        // the grace ran out and SIGKILL was sent
  bool asked_for_stacks = false;              // Pythons that SIGTERM would have killed got SIGABRT instead
};

struct EndFacts {
  bool started = false;                    // the script's exec succeeded
  std::optional<InitRecord> exec_failure;  // kExecFailed
  std::optional<InitRecord> end;           // kEnded
  std::optional<OrderedEnd> ordered;
  os::CgroupUsage usage;
  ResourceUsage sampled{};                   // second by second, where there was a second
  double running_seconds = 0;                // of the script, pauses left out
  bool machine_oom = false;                  // somebody on this machine was killed for memory while the run lived
  std::optional<std::int64_t> memory_limit;  // bytes, for the message
  std::optional<std::chrono::milliseconds> max_run_duration;  // for the message
  std::chrono::milliseconds grace{};                          // for the message
  std::string script_name;
  std::vector<std::string> candidates;  // of which none was there, for the message
  std::string image;                    // for messages; empty: no image
  std::optional<EngineRecord> engine;   // the Engine's word of the container's end
  int runtime_status = 0;               // wait status of the OCI runtime
  std::string runtime_words;            // the end of runtime.log, or why the shim could not start it
  std::int64_t lost_log_bytes = 0;
  std::string lost_log_reason;
};

Outcome judge(const EndFacts& facts);

}  // namespace runner::shim
