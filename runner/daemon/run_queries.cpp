#include "runner/daemon/run_queries.hpp"

#include <algorithm>

#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"

namespace runner::daemon {
namespace {

UtcTime instant(const std::string& text, const char* name) {
  const auto time = utc_from_iso8601(text);
  return time ? *time : utc_now() - parse_duration(text, name);
}

// Of a word out of a closed set.
template <class Value>
Value known(std::optional<Value> value, const std::string& text, const char* name, const char* words) {
  if (!value) throw Error(ErrorCode::kInvalid, std::string(name) + ": '" + text + "' is unknown", words);
  return *value;
}

}  // namespace

store::RunFilter filter_of(const http::Request& request, const store::History& history) {
  constexpr std::size_t kMostParameters = 100;  // each is a condition of one statement
  if (request.query.size() > kMostParameters)
    throw Error(ErrorCode::kInvalid, "query: more than " + std::to_string(kMostParameters) + " parameters");
  store::RunFilter filter;
  for (const auto& [name, value] : request.query) {
    if (name == "experiment") {
      filter.experiment = value;
    } else if (name == "status") {
      filter.status = known(run_status_from(value), value, "status", "Queued, Running, Completed, Failed, Canceled, …");
    } else if (name == "kind") {
      filter.kind = known(run_kind_from(value), value, "kind", "script, child or interactive");
    } else if (name == "tag") {
      filter.tags.push_back(key_value(value));
    } else if (name == "property") {
      filter.properties.push_back(key_value(value));
    } else if (name == "param") {
      filter.parameters.push_back(store::parameter_filter(value));
    } else if (name == "metric") {
      filter.metrics.push_back(store::metric_filter(value));
    } else if (name == "text") {
      filter.text = value;
    } else if (name == "parent") {
      filter.parent = history.resolve(value);
    } else if (name == "recursive") {
      filter.recursive = is_true(value);
    } else if (name == "since") {
      filter.since = instant(value, "since");
    } else if (name == "until") {
      filter.until = instant(value, "until");
    } else if (name == "children") {
      filter.include_children = is_true(value);
    } else if (name == "limit") {
      filter.limit = whole_number(value, "limit");
    } else if (name == "nextToken") {
      filter.before = whole_number(value, "nextToken");
    } else {
      throw Error(ErrorCode::kInvalid, "query: unknown parameter '" + name + "'");
    }
  }
  constexpr std::int64_t kMostRuns = 1'000;  // of one answer: `nextToken` leads on
  filter.limit = std::min(filter.limit.value_or(kMostRuns), kMostRuns);
  return filter;
}

std::vector<api::MetricSeries> metrics_of(const store::History& history, const std::string& id) {
  constexpr auto kMost = static_cast<std::int64_t>(api::kMaxMetricValues);
  std::vector<api::MetricSeries> metrics;
  for (auto& summary : history.metric_summaries(id)) {
    api::MetricSeries& series = metrics.emplace_back();
    series = {.name = summary.name, .shape = summary.shape, .count = summary.count};
    if (has_rows(summary.shape))
      series.rows = history.metric_rows(id, summary.name, kMost);
    else if (summary.count == 1 && summary.last)
      series.points.push_back(std::move(*summary.last));
    else
      series.points = history.metric_points(id, summary.name, kMost);
    series.columns = std::move(summary.columns);
  }
  return metrics;
}

std::vector<api::MetricSeries> last_metrics_of(const store::History& history, const std::string& id) {
  std::vector<api::MetricSeries> metrics;
  for (auto& summary : history.metric_summaries(id)) {
    api::MetricSeries& series = metrics.emplace_back();
    series = {.name = std::move(summary.name), .shape = summary.shape, .count = summary.count};
    if (summary.last) series.points.push_back(std::move(*summary.last));
    if (summary.last_row) series.rows.push_back(std::move(*summary.last_row));
  }
  return metrics;
}

}  // namespace runner::daemon
