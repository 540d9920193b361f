// Logs and artifacts as byte streams: from the run directory while the run lives, from the content store afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

// What of it is wanted: from `offset` at most `limit` bytes, or the first or the last lines, or what `range` (an HTTP
// Range) says; at most one of the four.
struct LogRequest {
  std::string run;
  std::string name = "user_logs/std_log.txt";
  std::int64_t offset = 0;  // bytes to skip
  std::optional<std::int64_t> limit{};
  std::optional<std::int64_t> head{};
  std::optional<std::int64_t> tail{};
  std::optional<std::string> range{};
  bool follow = false;  // until the run is final
  // The one to follow, whose end is the end; nothing: the present one and those that come after it.
  std::optional<int> attempt{};
};

// Error(kNotFound) before the stream has begun if the run has no such log, Error(kInvalid) for what does not go
// together. The answer's Runner-Offset says where it begins.
void stream_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange);
void stream_artifact(pipeline::Pipeline& pipeline, const std::string& run, const std::string& name,
                     const std::optional<std::string>& range, Exchange& exchange);

}  // namespace runner::daemon
