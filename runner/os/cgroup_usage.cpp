// What a run in cgroups has used and uses.
#include "runner/os/cgroup.hpp"
#include "runner/os/control_file.hpp"

namespace runner::os {
namespace {

using std::filesystem::path;

const path* directory_of(const RunCgroups& cgroups, const char* controller) {
  const auto at = cgroups.directories.find(controller);
  return at == cgroups.directories.end() ? nullptr : &at->second;
}

std::optional<double> cpu_seconds(const RunCgroups& cgroups) {
  const path* directory = directory_of(cgroups, "cpuacct");
  if (directory == nullptr) return std::nullopt;
  const bool v1 = cgroups.version == 1;
  const auto spent = v1 ? as_number(trimmed_file(*directory / "cpuacct.usage"))  // nanoseconds
                        : keyed_number(*directory / "cpu.stat", "usage_usec");   // microseconds
  if (!spent) return std::nullopt;
  return static_cast<double>(*spent) / (v1 ? 1e9 : 1e6);
}

void add(std::optional<std::int64_t>& sum, std::optional<std::int64_t> value) {
  if (value) sum = sum.value_or(0) + *value;
}

// v1: "8:0 Read 4096" and "8:0 Write 0"; v2: "8:0 rbytes=4096 wbytes=0 rios=1 …".
void read_io(const RunCgroups& cgroups, CgroupNow& now) {
  const bool v1 = cgroups.version == 1;
  const path* directory = v1                            ? directory_of(cgroups, "blkio")
                          : cgroups.directories.empty() ? nullptr
                                                        : &cgroups.directories.begin()->second;
  if (directory == nullptr) return;
  const path file = *directory / (v1 ? "blkio.throttle.io_service_bytes" : "io.stat");
  std::error_code failed;
  if (!v1 && std::filesystem::exists(file, failed))
    now.read_bytes = now.written_bytes = 0;  // empty before the first byte
  const std::string text = trimmed_file(file);
  for (const auto line : split(text, '\n')) {
    const auto words = split(line, ' ');
    if (v1) {
      if (words.size() != 3) continue;  // "Total 4096"
      if (words[1] == "Read") add(now.read_bytes, as_number(words[2]));
      if (words[1] == "Write") add(now.written_bytes, as_number(words[2]));
      continue;
    }
    for (const auto word : words) {
      constexpr std::size_t kKey = 7;  // "rbytes="
      if (word.starts_with("rbytes=")) add(now.read_bytes, as_number(word.substr(kKey)));
      if (word.starts_with("wbytes=")) add(now.written_bytes, as_number(word.substr(kKey)));
    }
  }
}

}  // namespace

CgroupUsage read_usage(const RunCgroups& cgroups) {
  CgroupUsage usage;
  const bool v1 = cgroups.version == 1;
  if (const path* memory = directory_of(cgroups, "memory")) {
    usage.peak_memory_bytes = as_number(trimmed_file(*memory / (v1 ? "memory.max_usage_in_bytes" : "memory.peak")));
    usage.oom_kills = keyed_number(*memory / (v1 ? "memory.oom_control" : "memory.events"), "oom_kill").value_or(0);
  }
  usage.cpu_seconds = cpu_seconds(cgroups);
  return usage;
}

CgroupNow read_now(const RunCgroups& cgroups) {
  CgroupNow now;
  const bool v1 = cgroups.version == 1;
  now.cpu_seconds = cpu_seconds(cgroups);
  if (const path* memory = directory_of(cgroups, "memory"))
    now.memory_bytes = as_number(trimmed_file(*memory / (v1 ? "memory.usage_in_bytes" : "memory.current")));
  if (const path* pids = directory_of(cgroups, "pids")) now.tasks = as_number(trimmed_file(*pids / "pids.current"));
  read_io(cgroups, now);
  return now;
}

std::int64_t count_machine_oom_kills() { return keyed_number("/proc/vmstat", "oom_kill").value_or(0); }

}  // namespace runner::os
