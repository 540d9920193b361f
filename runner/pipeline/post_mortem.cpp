#include "runner/pipeline/post_mortem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace runner::pipeline {
namespace {

constexpr std::size_t kLogLines = 30;
constexpr std::size_t kStackLines = 200;
constexpr std::size_t kLineBytes = 200;
constexpr std::size_t kCommandBytes = 110;
constexpr std::chrono::seconds kCurve{60};

struct CodePoint {
  std::size_t length = 0;  // bytes; 0: not UTF-8
  char32_t value = 0;
};

CodePoint decode(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {1, lead};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (length == 0 || lead > 0xF4 || text.size() < length) return {};
  char32_t value = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0U) != 0x80) return {};
    value = value << 6 | (next & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return {};
  return {length, value};
}

// Terminals obey control characters, and readers what reorders a line.
bool is_harmful(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool begins_stack(std::string_view line) {
  return line.starts_with("Fatal Python error: ") ||
         ((line.starts_with("Current thread 0x") || line.starts_with("Thread 0x")) &&
          line.find("(most recent call first):") != std::string_view::npos);
}

bool goes_on_with_stack(std::string_view line) {
  return line.empty() || begins_stack(line) || line.starts_with("  File ") || line == "  ..." ||
         line.starts_with("  <") || line.starts_with("Python runtime state: ") ||
         line.starts_with("Extension modules: ");
}

void heading(std::string& page, const std::string& text) { page += "\n" + text + "\n"; }

constexpr std::array<const char*, 8> kBars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

template <class Value>
std::string curve(const std::vector<shim::UsageSample>& samples, Value&& value) {
  double most = 0;
  for (const auto& sample : samples) most = std::max(most, value(sample));
  std::string bars;
  for (const auto& sample : samples) {
    const double part = most > 0 ? value(sample) / most : 0;
    bars +=
        kBars[std::min<std::size_t>(static_cast<std::size_t>(std::max(0.0, part) * kBars.size()), kBars.size() - 1)];
  }
  return bars;
}

void add_curves(std::string& page, const PostMortem& facts) {
  std::vector<shim::UsageSample> samples = facts.look ? facts.look->samples : facts.usage;
  if (!samples.empty()) {
    const UtcTime from = samples.back().time - kCurve;
    std::erase_if(samples, [&](const auto& sample) { return sample.time <= from; });
  }
  heading(page, "CPU and memory of the last minute");
  if (samples.empty()) {
    page += "  none: it ran for less than a second, or nothing was sampled\n";
    return;
  }
  const auto cpus = [](const auto& sample) { return sample.cpus; };
  const auto memory = [](const auto& sample) { return static_cast<double>(sample.memory_bytes); };
  double most_cpus = 0;
  std::int64_t most_memory = 0;
  for (const auto& sample : samples) {
    most_cpus = std::max(most_cpus, sample.cpus);
    most_memory = std::max(most_memory, sample.memory_bytes);
  }
  page += fmt::format("  CPU     {}  at most {:.2f} CPUs, {:.2f} at last\n", curve(samples, cpus), most_cpus,
                      samples.back().cpus);
  page += fmt::format("  memory  {}  at most {}, {} at last\n", curve(samples, memory), format_size(most_memory),
                      format_size(samples.back().memory_bytes));
  page += fmt::format("  each column is {:.0f} s; the last one ended {:.1f} s before the end\n",
                      std::max(1.0, std::round(samples.back().seconds)),
                      std::chrono::duration<double>(facts.ended - samples.back().time).count());
}

void add_processes(std::string& page, const PostMortem& facts) {
  if (!facts.look || facts.look->time == UtcTime{}) {
    heading(page, "Processes");
    page += facts.outcome.kind == OutcomeKind::kLost ? "  not known: the supervisor, which would know, was killed\n"
                                                     : "  none seen: it ran for less than a second\n";
    return;
  }
  const shim::LastLook& look = *facts.look;
  const double age = std::chrono::duration<double>(facts.ended - look.time).count();
  heading(page, look.before_signal ? "Processes, just before the signal"
                                   : fmt::format("Processes, {:.1f} s before the end", std::max(0.0, age)));
  page += "      PID    PPID  S      MEMORY       CPU  COMMAND\n";
  for (const shim::SeenProcess& process : look.processes)
    page += fmt::format("  {:7} {:7}  {} {:>11} {:>8.2f}s  {}\n", process.pid, process.parent,
                        shown_line({&process.state, 1}, 8), format_size(process.memory_bytes), process.cpu_seconds,
                        shown_line(process.command, kCommandBytes));
  const auto more = look.process_count - static_cast<std::int64_t>(look.processes.size());
  if (more > 0 || !look.complete)
    page += fmt::format("  and {}{} more\n", look.complete ? "" : "at least ", std::max<std::int64_t>(more, 1));
}

void add_log(std::string& page, std::vector<std::string_view> lines, bool whole) {
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  const bool cut = !whole || lines.size() > kLogLines;
  if (lines.size() > kLogLines) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kLogLines));
  heading(page, cut ? fmt::format("The last {} lines of the log", lines.size()) : "The log");
  if (lines.empty()) page += "  empty\n";
  for (const std::string_view line : lines) page += "  " + shown_line(line, kLineBytes) + "\n";
}

void add_stacks(std::string& page, const std::vector<std::string_view>& lines) {
  heading(page, "Python stacks, from the log");
  if (lines.empty()) page += "  none\n";
  for (std::size_t i = 0; i < std::min(lines.size(), kStackLines); ++i)
    page += lines[i].empty() ? "\n" : "  " + shown_line(lines[i], kLineBytes) + "\n";
  if (lines.size() > kStackLines) page += fmt::format("  and {} lines more\n", lines.size() - kStackLines);
}

}  // namespace

bool wants_post_mortem(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kSignaled:
    case OutcomeKind::kTimedOut:
    case OutcomeKind::kOutOfMemory:
    case OutcomeKind::kKilled:
    case OutcomeKind::kLost:
      return true;
    default:
      return false;
  }
}

std::string shown_line(std::string_view line, std::size_t most) {
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (const auto rewritten = line.rfind('\r'); rewritten != std::string_view::npos) line.remove_prefix(rewritten + 1);
  std::string shown;
  while (!line.empty()) {
    const CodePoint point = decode(line);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    if (shown.size() + 6 > most) return shown + "…";
    if (point.value == '\t')
      shown += "    ";
    else if (point.length > 0 && !is_harmful(point.value))
      shown += line.substr(0, length);
    else
      shown += point.length > 1 ? fmt::format("\\u{:04x}", static_cast<unsigned>(point.value))
                                : fmt::format("\\x{:02x}", static_cast<unsigned char>(line[0]));
    line.remove_prefix(length);
  }
  return shown;
}

std::vector<std::string_view> stack_lines(std::string_view log, std::vector<std::string_view>& rest) {
  std::vector<std::string_view> stacks;
  bool inside = false;
  for (const std::string_view line : lines_of(log)) {
    inside = inside ? goes_on_with_stack(line) : begins_stack(line);
    (inside ? stacks : rest).push_back(line);
  }
  while (!stacks.empty() && stacks.back().empty()) stacks.pop_back();
  return stacks;
}

std::string to_text(const PostMortem& facts) {
  std::string page = "Run " + facts.run + ", which ended as " + std::string(to_string(facts.outcome.kind)) + "\n";
  page += "  how        " + shown_line(facts.outcome.message, 400) + "\n";
  page += "  command    " + shown_line(facts.command, 400) + "\n";
  if (facts.started) page += "  started    " + to_iso8601(*facts.started) + "\n";
  page += "  ended      " + to_iso8601(facts.ended);
  if (facts.started)
    page += ", after " +
            format_duration(std::chrono::duration_cast<std::chrono::milliseconds>(facts.ended - *facts.started));
  page += "\n";
  const ResourceUsage& usage = facts.outcome.usage;
  if (usage.peak_memory_bytes) page += "  memory     at most " + format_size(*usage.peak_memory_bytes) + "\n";
  if (usage.cpu_seconds) page += fmt::format("  CPU time   {:.2f} s\n", *usage.cpu_seconds);
  std::vector<std::string_view> rest;
  const auto stacks = stack_lines(facts.log_end, rest);
  add_stacks(page, stacks);
  add_processes(page, facts);
  add_curves(page, facts);
  add_log(page, rest, facts.whole_log);
  return page;
}

}  // namespace runner::pipeline
