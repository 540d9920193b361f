// What a run uses, second by second: usage.jsonl in the run directory, later its artifact system_logs/usage.jsonl.
// One JSON object a line, oldest first; a damaged line costs only itself:
//   {"time": 1700000000000000, "seconds": 1, "cpuSeconds": 3.21, "cpus": 0.98, "memoryBytes": 123456,
//    "readBytes": 0, "writtenBytes": 4096, "processes": 3}
// time: microseconds UTC, the end of what the line covers; seconds: how much that is, pauses left out; memoryBytes and
// processes: the most in it; cpuSeconds, readBytes, writtenBytes: since the start. The last two may be absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/os/fd.hpp"

namespace runner::shim {

struct UsageSample {
  UtcTime time{};
  double seconds = 0;
  double cpu_seconds = 0;
  double cpus = 0;
  std::int64_t memory_bytes = 0;
  std::optional<std::int64_t> read_bytes{}, written_bytes{};
  std::int64_t processes = 0;
};

std::string to_line(const UsageSample& sample);
std::vector<UsageSample> parse_usage(std::string_view text);                  // what is damaged is left out
std::vector<UsageSample> read_usage_file(const std::filesystem::path& file);  // empty if there is none

// Peaks, means and sums of samples.
class UsageTotals {
 public:
  void add(const UsageSample& sample);
  void set_bytes(std::optional<std::int64_t> read, std::optional<std::int64_t> written);  // what was found at the end
  bool empty() const { return seconds_ <= 0; }
  ResourceUsage usage() const;

 private:
  double seconds_ = 0;
  double memory_seconds_ = 0;  // bytes times seconds
  ResourceUsage usage_;
};
ResourceUsage usage_of(std::span<const UsageSample> samples);

// Appends to the file and keeps it small for a run of any length: when it is full, every two neighbours become one and
// the next ones cover twice as much. Never throws: a full disk costs samples, not the run. One thread.
class UsageFile {
 public:
  explicit UsageFile(std::filesystem::path file, std::size_t most = kMostSamples)
      : path_(std::move(file)), most_(most) {}
  void add(const UsageSample& sample);
  void finish();  // writes what is still being gathered

  static constexpr std::size_t kMostSamples = 7200;  // two hours of seconds, about 1 MB

 private:
  void append(const UsageSample& sample);
  void halve();

  const std::filesystem::path path_;
  const std::size_t most_;
  os::Fd fd_;
  bool torn_ = false;     // the file may not end with a whole line
  std::size_t step_ = 1;  // samples that become one line
  std::vector<UsageSample> kept_;
  std::optional<UsageSample> gathered_;
  std::size_t gathered_count_ = 0;
};

// Two neighbours as one.
UsageSample merged(const UsageSample& first, const UsageSample& second);

}  // namespace runner::shim
