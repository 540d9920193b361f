// Metrics of a run: what its script logged, and what it used of the machine (system=1).
#include <algorithm>

#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"

namespace runner::daemon {
namespace {

using Points = std::vector<MetricPoint>;

MetricPoint point_of(const char* name, const shim::UsageSample& sample, std::size_t step) {
  MetricPoint point;
  point.name = name;
  point.step = static_cast<std::int64_t>(step);
  point.time = sample.time;
  return point;
}

// Every sampled figure as a metric: its step is the number of the sample.
std::vector<Points> system_metrics(const std::vector<shim::UsageSample>& samples) {
  std::vector<Points> metrics;
  const auto add = [&](const char* name, auto&& value) {
    Points points;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      MetricPoint point = point_of(name, samples[i], i);
      if (value(samples[i], point)) points.push_back(std::move(point));
    }
    if (!points.empty()) metrics.push_back(std::move(points));
  };
  using Sample = shim::UsageSample;
  const auto real = [](double Sample::*member) {
    return [member](const Sample& sample, MetricPoint& point) {
      point.value = sample.*member;
      return true;
    };
  };
  const auto integer = [](std::int64_t Sample::*member) {
    return [member](const Sample& sample, MetricPoint& point) {
      point.value = sample.*member;
      return true;
    };
  };
  const auto known = [](std::optional<std::int64_t> Sample::*member) {
    return [member](const Sample& sample, MetricPoint& point) {
      const auto& value = sample.*member;
      if (value) point.value = *value;
      return value.has_value();
    };
  };
  add("cpus", real(&Sample::cpus));
  add("cpuSeconds", real(&Sample::cpu_seconds));
  add("memoryBytes", integer(&Sample::memory_bytes));
  add("readBytes", known(&Sample::read_bytes));
  add("writtenBytes", known(&Sample::written_bytes));
  add("processes", integer(&Sample::processes));
  return metrics;
}

double number_of(const MetricPoint& point) {
  const auto* integer = std::get_if<std::int64_t>(&point.value);
  return integer != nullptr ? static_cast<double>(*integer) : std::get<double>(point.value);
}

api::MetricOverview overview_of(const Points& points) {
  const auto [least, most] =
      std::minmax_element(points.begin(), points.end(),
                          [](const MetricPoint& a, const MetricPoint& b) { return number_of(a) < number_of(b); });
  return {.name = points.front().name,
          .count = static_cast<std::int64_t>(points.size()),
          .last = points.back(),
          .min = number_of(*least),
          .max = number_of(*most)};
}

}  // namespace

void Routes::metrics(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  const auto name = request.parameter("name");
  if (is_true(request.parameter("system"))) return system_metrics_of(id, name, exchange);
  store::History& history = pipeline_.history();
  if (name) {
    std::optional<std::int64_t> at_most;
    if (const auto text = request.parameter("max-points")) at_most = whole_number(*text, "max-points");
    const auto summaries = history.metric_summaries(id);
    const auto metric =
        std::find_if(summaries.begin(), summaries.end(), [&](const auto& one) { return one.name == *name; });
    if (metric == summaries.end()) throw Error(ErrorCode::kNotFound, "run " + id + " has no metric '" + *name + "'");
    return exchange.respond({.status = 200,
                             .body = has_rows(metric->shape)
                                         ? api::metric_rows_document(history.metric_rows(id, *name, at_most))
                                         : api::metric_points_document(history.metric_points(id, *name, at_most))});
  }
  std::vector<api::MetricOverview> overview;
  for (auto& summary : history.metric_summaries(id))
    overview.push_back({.name = summary.name,
                        .shape = summary.shape,
                        .count = summary.count,
                        .last = std::move(summary.last),
                        .last_row = std::move(summary.last_row),
                        .min = summary.min,
                        .max = summary.max,
                        .columns = std::move(summary.columns)});
  exchange.respond({.status = 200, .body = api::metric_overview_document(overview)});
}

void Routes::system_metrics_of(const std::string& id, const std::optional<std::string>& name, Exchange& exchange) {
  const auto metrics = system_metrics(pipeline_.usage_of(id));
  if (name) {
    for (const Points& points : metrics)
      if (points.front().name == *name)
        return exchange.respond({.status = 200, .body = api::metric_points_document(points)});
    throw Error(ErrorCode::kNotFound, "run " + id + " has no system metric '" + *name + "'",
                "cpus, cpuSeconds, memoryBytes, readBytes, writtenBytes and processes of a run of at least a second");
  }
  std::vector<api::MetricOverview> overview;
  for (const Points& points : metrics) overview.push_back(overview_of(points));
  exchange.respond({.status = 200, .body = api::metric_overview_document(overview)});
}

}  // namespace runner::daemon
