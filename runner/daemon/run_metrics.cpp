// Metrics of a run: what its script logged, whole and exact (values=1) or for people, and what it used of the machine
// (system=1).
#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "runner/api/exact_metric.hpp"
#include "runner/api/metric_document.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_handlers.hpp"

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

void read_system_metrics(const RunCall& call, const std::optional<std::string>& name) {
  const auto metrics = system_metrics(call.pipeline.usage_of(call.run));
  if (name) {
    for (const Points& points : metrics)
      if (points.front().name == *name)
        return call.exchange.respond({.status = 200, .body = api::metric_points_document(points)});
    throw Error(ErrorCode::kNotFound, "run " + call.run + " has no system metric '" + *name + "'",
                "cpus, cpuSeconds, memoryBytes, readBytes, writtenBytes and processes of a run of at least a second");
  }
  std::vector<api::MetricOverview> overview;
  for (const Points& points : metrics) overview.push_back(overview_of(points));
  call.exchange.respond({.status = 200, .body = api::metric_overview_document(overview)});
}

// A document whose pieces are sent as they come: of a million points nothing but the present metric is held.
class Pieces {
 public:
  explicit Pieces(Exchange& exchange) : exchange_(exchange) {}

  void add(std::string_view text) {
    held_ += text;
    constexpr std::size_t kEnough = 64 << 10;
    if (held_.size() < kEnough) return;
    if (!std::exchange(began_, true)) exchange_.start_stream(200, "application/json", std::nullopt);
    exchange_.write(std::as_bytes(std::span(held_)));
    held_.clear();
  }
  void finish() {
    if (!began_) return exchange_.respond({.status = 200, .body = held_});
    exchange_.write(std::as_bytes(std::span(held_)));
    exchange_.finish_stream();
  }

 private:
  Exchange& exchange_;
  std::string held_;
  bool began_ = false;
};

// "" before the first of a list, "," before the others.
class Comma {
 public:
  std::string_view next() { return std::exchange(first_, false) ? "" : ","; }

 private:
  bool first_ = true;
};

api::MetricPages pages_of(const store::History& history, const std::string& id, const std::string& name) {
  return {.points = [&history, id, name](std::int64_t from) { return history.metric_points_from(id, name, from); },
          .rows = [&history, id, name](std::int64_t from) { return history.metric_rows_from(id, name, from); }};
}

// {NAME: M}, or nothing if there are none.
void add_values(const store::History& history, const std::string& id, const std::optional<std::string>& name,
                Comma& between_runs, Pieces& pieces) {
  Comma between_metrics;
  bool began = false;
  for (auto& summary : history.metric_summaries(id)) {
    if (name && summary.name != *name) continue;
    if (!std::exchange(began, true)) pieces.add(std::string(between_runs.next()) + api::json_text(id) + ":{");
    pieces.add(std::string(between_metrics.next()) + api::json_text(summary.name) + ":");
    api::write_exact_metric({.shape = summary.shape, .count = summary.count, .columns = std::move(summary.columns)},
                            pages_of(history, id, summary.name),
                            [&pieces](std::string_view text) { pieces.add(text); });
  }
  if (began) pieces.add("}");
}

// All of a metric, as items.
template <class Page>
void write_items(std::int64_t count, const Page& page, Exchange& exchange) {
  Pieces pieces(exchange);
  Comma comma;
  pieces.add("{\"items\":[");
  for (std::int64_t from = 0; from < count;) {
    const auto some = page(from);
    if (some.empty()) break;
    for (const auto& one : some)
      if (from++ < count) pieces.add(std::string(comma.next()) + api::metric_item(one));
  }
  pieces.add("],\"nextToken\":null}");
  pieces.finish();
}

// The items of a metric: all of them, or so many, evenly spaced.
void read_items(const RunCall& call, const std::string& name, std::optional<std::int64_t> at_most) {
  const store::History& history = call.pipeline.history();
  const auto summaries = history.metric_summaries(call.run);
  const auto metric =
      std::find_if(summaries.begin(), summaries.end(), [&name](const auto& one) { return one.name == name; });
  if (metric == summaries.end()) throw Error(ErrorCode::kNotFound, "run " + call.run + " has no metric '" + name + "'");
  const bool rows = has_rows(metric->shape);
  if (!at_most || *at_most >= metric->count) {
    const api::MetricPages pages = pages_of(history, call.run, name);
    return rows ? write_items(metric->count, pages.rows, call.exchange)
                : write_items(metric->count, pages.points, call.exchange);
  }
  constexpr std::int64_t kMostPicked = 10'000;
  if (*at_most > kMostPicked)
    throw Error(ErrorCode::kInvalid, "max-points: at most " + std::to_string(kMostPicked),
                "leave it out for all of them");
  call.exchange.respond({.status = 200,
                         .body = rows ? api::metric_rows_document(history.metric_rows(call.run, name, at_most))
                                      : api::metric_points_document(history.metric_points(call.run, name, at_most))});
}

// What get_metrics of the Python package reads: {"runs": {RUN: {NAME: M}}}.
void read_values(const RunCall& call, const std::optional<std::string>& name) {
  const store::History& history = call.pipeline.history();
  Pieces pieces(call.exchange);
  Comma between_runs;
  pieces.add("{\"runs\":{");
  add_values(history, call.run, name, between_runs, pieces);
  if (is_true(call.request.parameter("recursive"))) {
    constexpr std::int64_t kPage = 500;
    store::RunFilter below{.parent = call.run, .recursive = true, .limit = kPage};
    do {
      const store::RunPage page = history.page(below);
      for (const RunRecord& run : page.runs) add_values(history, run.id, name, between_runs, pieces);
      below.before = page.next;
    } while (below.before);
  }
  pieces.add("}}");
  pieces.finish();
}

}  // namespace

void read_metrics(const RunCall& call) {
  const auto& [pipeline, id, asker, request, exchange] = call;
  const auto name = request.parameter("name");
  if (is_true(request.parameter("values"))) return read_values(call, name);
  if (is_true(request.parameter("system"))) return read_system_metrics(call, name);
  const store::History& history = pipeline.history();
  if (name) {
    std::optional<std::int64_t> at_most;
    if (const auto text = request.parameter("max-points")) at_most = whole_number(*text, "max-points");
    return read_items(call, *name, at_most);
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

}  // namespace runner::daemon
