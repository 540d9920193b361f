#include "runner/collect/metric_journal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "runner/os/fd.hpp"

namespace runner::collect {
namespace {

using nlohmann::json;

constexpr char kRecordSeparator = '\x1e';
constexpr std::size_t kReadLimit = 1 << 20;  // bytes at a time, and so the longest record

// {"float": "nan"}: what JSON numbers cannot say.
std::optional<double> non_finite(const json& value) {
  const auto at = value.find("float");
  if (value.size() != 1 || at == value.end() || !at->is_string()) return std::nullopt;
  const std::string& name = at->get_ref<const std::string&>();
  if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (name == "inf") return std::numeric_limits<double>::infinity();
  if (name == "-inf") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

bool set_value(const json& value, MetricPoint& point) {
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
    point.real = value.get<double>();
  else if (value.is_number_integer())
    point.integer = value.get<std::int64_t>();
  else if (value.is_number_float())
    point.real = value.get<double>();
  else if (value.is_string())
    point.text = value.get<std::string>();
  else if (value.is_object())
    point.real = non_finite(value);
  return point.real || point.integer || point.text;
}

bool is_int64(const json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() ||
          value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
}

// One record without its separator and line feed; nothing if it is damaged or foreign.
std::optional<MetricPoint> parse_record(std::string_view record) {
  const json object = json::parse(record, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto name = object.find("metric");
  const auto value = object.find("value");
  const auto time = object.find("time");
  if (name == object.end() || value == object.end() || time == object.end()) return std::nullopt;
  if (!name->is_string() || name->get_ref<const std::string&>().empty() || !is_int64(*time)) return std::nullopt;
  MetricPoint point;
  point.name = name->get<std::string>();
  point.time = UtcTime{std::chrono::microseconds{time->get<std::int64_t>()}};
  if (const auto step = object.find("step"); step != object.end() && !step->is_null()) {
    if (!is_int64(*step)) return std::nullopt;
    point.step = step->get<std::int64_t>();
  }
  if (!set_value(*value, point)) return std::nullopt;
  return point;
}

void notice_damage(JournalPart& part, std::size_t damaged) {
  if (damaged == 0) return;
  part.notices.push_back("metric journal: " + std::to_string(damaged) +
                         (damaged == 1 ? " record was" : " records were") + " damaged and left out");
}

JournalPart unreadable(std::int64_t offset, const std::string& why) {
  JournalPart part;
  part.next_offset = offset;
  part.notices.push_back("metric journal: " + why);
  return part;
}

}  // namespace

JournalPart parse_journal(std::string_view bytes, std::int64_t offset, bool complete) {
  JournalPart part;
  std::size_t damaged = 0;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t next = std::min(bytes.find(kRecordSeparator, at + 1), bytes.size());
    const std::string_view whole = bytes.substr(at, next - at);
    const bool last = next == bytes.size();
    const bool ended = whole.ends_with('\n');
    if (last && !ended && !complete) break;  // still being written
    if (whole.front() != kRecordSeparator || !ended) {
      // What stands before the first separator belongs to a record that was damaged; a bare line end is nothing.
      if (whole.find_first_not_of("\r\n\t ") != std::string_view::npos) ++damaged;
    } else if (auto point = parse_record(whole.substr(1, whole.size() - 2))) {
      part.points.push_back(std::move(*point));
    } else {
      ++damaged;
    }
    at = next;
  }
  part.next_offset = offset + static_cast<std::int64_t>(at);
  notice_damage(part, damaged);
  return part;
}

JournalPart read_journal(const std::filesystem::path& journal, std::int64_t offset, bool complete) {
  const int descriptor = ::open(journal.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) {
    if (errno == ENOENT && offset == 0) return {};
    return unreadable(offset, std::string("cannot be read: ") +
                                  (errno == ELOOP ? "it became a symbolic link" : std::strerror(errno)));
  }
  const os::Fd fd(descriptor);
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return unreadable(offset, "cannot be read: not a regular file");
  if (info.st_size < offset)
    return unreadable(info.st_size, "shrank from " + std::to_string(offset) + " to " + std::to_string(info.st_size) +
                                        " bytes; what was read before is kept");
  std::string bytes(static_cast<std::size_t>(std::min<std::int64_t>(info.st_size - offset, kReadLimit)), '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got =
        ::pread(fd.get(), bytes.data() + filled, bytes.size() - filled, offset + static_cast<std::int64_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  // Only the last part of a journal can be final.
  const bool at_end = offset + static_cast<std::int64_t>(filled) >= info.st_size;
  JournalPart part = parse_journal(bytes, offset, complete && at_end);
  if (part.next_offset == offset && filled == kReadLimit) {
    part.next_offset = offset + static_cast<std::int64_t>(filled);
    part.notices.push_back("metric journal: a record of more than 1 MiB was left out");
  }
  return part;
}

}  // namespace runner::collect
