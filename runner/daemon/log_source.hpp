// A file of a run, wherever it is: in the run directory while it grows, in the content store afterwards. Any thread;
// one thread an object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runner/core/content.hpp"
#include "runner/core/run.hpp"
#include "runner/os/fd.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

inline constexpr std::string_view kStandardLog = "user_logs/std_log.txt";
inline constexpr std::string_view kBuildLog = "system_logs/environment_build.log";

class LogSource {
 public:
  // Nothing if the run has no such file (yet).
  static std::optional<LogSource> open(pipeline::Pipeline& pipeline, const std::string& run, const std::string& name);
  // What is stored only.
  static std::optional<LogSource> open_stored(pipeline::Pipeline& pipeline, const std::string& run,
                                              const std::string& name);

  std::int64_t size() const;  // bytes; of one that grows, now
  // Bytes [begin, end) in order. What is before `begin` is not read, and of a stored one at most 2 MiB before it
  // decompressed.
  void read(std::int64_t begin, std::int64_t end, const WriteSome& write) const;

  // Where the last `lines` lines begin, found from the end; the last need not end in a newline.
  std::int64_t begin_of_last(std::int64_t lines) const;

 private:
  LogSource(pipeline::Pipeline& pipeline, os::Fd live, std::optional<Artifact> stored)
      : pipeline_(&pipeline), live_(std::move(live)), stored_(std::move(stored)) {}

  pipeline::Pipeline* pipeline_;
  os::Fd live_;
  std::optional<Artifact> stored_;
};

// The file that grows; an invalid descriptor where there is none.
os::Fd open_live_log(const pipeline::Pipeline& pipeline, const std::string& run, const std::string& name);
// Whether a standard log that was opened before this is the one of that attempt: the directories of all attempts have
// the same name, one after the other.
bool is_of_attempt(const pipeline::Pipeline& pipeline, const std::string& run, int attempt);
// Bytes [begin, end) of it, or as many as there are; returns how far it came.
std::int64_t read_live_log(const os::Fd& file, std::int64_t begin, std::int64_t end, const WriteSome& write);

}  // namespace runner::daemon
