#include "runner/cli/event_mirror.hpp"

#include <fcntl.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "runner/cli/download.hpp"
#include "runner/cli/event_file.hpp"
#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"

namespace runner::cli {
namespace {

constexpr std::string_view kLogs = "logs/";

std::filesystem::path made_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw errno_error(error.value(), "create " + directory.string());
  return directory;
}

// A number, or the text that stands for one that JSON has not.
std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

// The records of one metric; none if it has no numbers.
std::int64_t append_metric(const Json& points, const std::string& name, std::string& records) {
  std::int64_t written = 0;
  std::int64_t place = 0;
  for (const Json& point : member(points, "items")) {
    const Json& step = member(point, "step");
    Scalar scalar{.tag = name,
                  .step = step.is_number_integer() ? step.get<std::int64_t>() : place,
                  .time = utc_from_iso8601(text_at(point, "timeUtc")).value_or(UtcTime{})};
    ++place;
    const auto add = [&](const std::string& tag, const Json& value) {
      const auto number = number_of(value);
      if (!number) return;
      scalar.tag = tag;
      scalar.value = *number;
      records += scalar_record(scalar);
      ++written;
    };
    if (point.contains("values"))
      for (const auto& [column, value] : member(point, "values").items()) add(name + "/" + column, value);
    else
      add(name, member(point, "value"));
  }
  return written;
}

}  // namespace

bool is_event_file(std::string_view name) {
  const auto slash = name.rfind('/');
  return name.starts_with(kLogs) && name.find(".tfevents.", slash + 1) != std::string_view::npos && is_safe_name(name);
}

std::size_t mirror_event_files(Session& session, const std::string& run, const std::filesystem::path& directory) {
  std::size_t count = 0;
  const Json files = parse_document(session.get(run_target(run, "/files?prefix=logs/")));
  for (const Json& file : member(files, "items")) {
    const std::string name = text_at(file, "name");
    if (!is_event_file(name)) continue;
    ++count;
    const auto target = directory / run / name.substr(kLogs.size());
    std::error_code missing;
    const auto there = std::filesystem::file_size(target, missing);
    const auto begin = missing ? std::int64_t{0} : static_cast<std::int64_t>(there);
    if (begin >= static_cast<std::int64_t>(number_at(file, "bytes").value_or(0))) continue;
    made_directory(target.parent_path());
    const os::Fd copy = os::open_file(target, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0666);
    session.client().stream(
        "GET", run_target(run, "/log?name=" + http::percent_encode(name) + "&offset=" + std::to_string(begin)),
        [&](std::span<const std::byte> piece) {
          os::write_all(copy.get(), {reinterpret_cast<const char*>(piece.data()), piece.size()}, target.string());
        });
  }
  return count;
}

WrittenMetrics write_metric_events(Session& session, const Json& run, const std::filesystem::path& directory) {
  const std::string id = text_at(run, "runId");
  const UtcTime created = utc_from_iso8601(text_at(run, "createdTimeUtc")).value_or(UtcTime{});
  std::string records = version_record(created);
  WrittenMetrics written;
  const Json metrics = parse_document(session.get(run_target(id, "/metrics")));
  for (const Json& metric : member(metrics, "items")) {
    const std::string name = text_at(metric, "name");
    const Json points = parse_document(session.get(run_target(id, "/metrics?name=" + http::percent_encode(name))));
    const std::int64_t count = append_metric(points, name, records);
    written.points += count;
    written.metrics += count > 0 ? 1 : 0;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(created.time_since_epoch()).count();
  written.file = made_directory(directory / id) / ("events.out.tfevents." + std::to_string(seconds) + ".runner");
  os::publish_file(written.file, records, os::Durability::kAtomic, 0644);
  return written;
}

}  // namespace runner::cli
