#include "runner/shim/usage.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kFileLimit = 16 << 20;  // bytes; ours are smaller by far

// For people and for the disk: milliseconds and thousandths of a CPU are enough.
double rounded(double value) { return std::round(value * 1000) / 1000; }

std::optional<std::int64_t> optional_number(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() ? std::nullopt : std::optional(whole_number<std::int64_t>(*at));
}

}  // namespace

std::string to_line(const UsageSample& sample) {
  Json object{{"time", sample.time.time_since_epoch().count()},
              {"seconds", rounded(sample.seconds)},
              {"cpuSeconds", rounded(sample.cpu_seconds)},
              {"cpus", rounded(sample.cpus)},
              {"memoryBytes", sample.memory_bytes}};
  if (sample.read_bytes) object["readBytes"] = *sample.read_bytes;
  if (sample.written_bytes) object["writtenBytes"] = *sample.written_bytes;
  object["processes"] = sample.processes;
  return object.dump() + "\n";
}

std::vector<UsageSample> parse_usage(std::string_view text) {
  std::vector<UsageSample> samples;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    try {
      const Json object = Json::parse(line);
      samples.push_back({.time = UtcTime{std::chrono::microseconds{whole_number<std::int64_t>(object.at("time"))}},
                         .seconds = object.at("seconds").get<double>(),
                         .cpu_seconds = object.at("cpuSeconds").get<double>(),
                         .cpus = object.at("cpus").get<double>(),
                         .memory_bytes = whole_number<std::int64_t>(object.at("memoryBytes")),
                         .read_bytes = optional_number(object, "readBytes"),
                         .written_bytes = optional_number(object, "writtenBytes"),
                         .processes = whole_number<std::int64_t>(object.at("processes"))});
    } catch (const Json::exception&) {
      // A torn line: the disk was full, or the shim was killed over it.
    }
  }
  return samples;
}

std::vector<UsageSample> read_usage_file(const std::filesystem::path& file) {
  return parse_usage(os::read_file_if_exists(file, kFileLimit).value_or(""));
}

void UsageTotals::add(const UsageSample& sample) {
  if (sample.seconds <= 0) return;
  seconds_ += sample.seconds;
  memory_seconds_ += static_cast<double>(sample.memory_bytes) * sample.seconds;
  usage_.peak_memory_bytes = std::max(usage_.peak_memory_bytes.value_or(0), sample.memory_bytes);
  usage_.mean_memory_bytes = static_cast<std::int64_t>(memory_seconds_ / seconds_);
  usage_.cpu_seconds = sample.cpu_seconds;
  usage_.peak_cpus = std::max(usage_.peak_cpus.value_or(0), sample.cpus);
  usage_.mean_cpus = sample.cpu_seconds / seconds_;
  if (sample.read_bytes) usage_.read_bytes = sample.read_bytes;
  if (sample.written_bytes) usage_.written_bytes = sample.written_bytes;
}

void UsageTotals::set_bytes(std::optional<std::int64_t> read, std::optional<std::int64_t> written) {
  if (read) usage_.read_bytes = read;
  if (written) usage_.written_bytes = written;
}

ResourceUsage UsageTotals::usage() const { return usage_; }

ResourceUsage usage_of(std::span<const UsageSample> samples) {
  UsageTotals totals;
  for (const UsageSample& sample : samples) totals.add(sample);
  return totals.usage();
}

UsageSample merged(const UsageSample& first, const UsageSample& second) {
  UsageSample both = second;
  both.seconds = first.seconds + second.seconds;
  if (both.seconds > 0) both.cpus = (first.cpus * first.seconds + second.cpus * second.seconds) / both.seconds;
  both.memory_bytes = std::max(first.memory_bytes, second.memory_bytes);
  both.processes = std::max(first.processes, second.processes);
  return both;
}

void UsageFile::add(const UsageSample& sample) {
  gathered_ = gathered_ ? merged(*gathered_, sample) : sample;
  if (++gathered_count_ < step_) return;
  finish();
  if (kept_.size() >= most_) halve();
}

void UsageFile::finish() {
  if (!gathered_) return;
  kept_.push_back(*gathered_);
  append(*gathered_);
  gathered_.reset();
  gathered_count_ = 0;
}

void UsageFile::append(const UsageSample& sample) {
  if (!fd_) fd_ = os::Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_) return;
  const std::string line = (torn_ ? "\n" : "") + to_line(sample);
  torn_ = ::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size());
}

void UsageFile::halve() {
  step_ *= 2;
  std::vector<UsageSample> fewer;
  std::string text;
  for (std::size_t i = 0; i < kept_.size(); i += 2) {
    fewer.push_back(i + 1 < kept_.size() ? merged(kept_[i], kept_[i + 1]) : kept_[i]);
    text += to_line(fewer.back());
  }
  kept_ = std::move(fewer);
  try {
    os::publish_file(path_, text, os::Durability::kAtomic);
    fd_.reset();
    torn_ = false;
  } catch (const Error&) {
    // The old file stays and grows by half as many lines.
  }
}

}  // namespace runner::shim
