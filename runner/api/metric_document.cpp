#include "runner/api/metric_document.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "runner/api/json_handle.hpp"
#include "runner/core/time.hpp"

namespace runner::api {

using nlohmann::ordered_json;

ordered_json logged_cells(const MetricRow& row) {
  ordered_json cells = ordered_json::parse(row.cells, nullptr, false);
  return cells.is_object() ? cells : ordered_json::object();
}

namespace {

// JSON has no NaN and no infinities: they travel as the strings Python's float() reads back.
ordered_json number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

ordered_json value_of(const MetricValue& value) {
  if (const auto* file = std::get_if<MetricFile>(&value))
    return {{"artifact", file->artifact}, {"type", to_string(file->type)}};
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return number(std::get<double>(value));
}

// A cell as it is stored, {"float": "nan"} read as what it means.
ordered_json cell_value(ordered_json cell) {
  const auto at = cell.is_object() ? cell.find("float") : cell.end();
  if (!cell.is_object() || at == cell.end() || !at->is_string()) return cell;
  const std::string& name = at->get_ref<const std::string&>();
  if (name == "inf") return "Infinity";
  return name == "-inf" ? "-Infinity" : "NaN";
}

ordered_json cells_of(const MetricRow& row) {
  ordered_json cells = logged_cells(row);
  for (ordered_json& cell : cells) cell = cell_value(std::move(cell));
  return cells;
}

bool is_one_row(const MetricSeries& series) { return series.shape == MetricShape::kRow && series.count == 1; }
bool is_one_value(const MetricSeries& series) { return series.shape == MetricShape::kValue && series.count == 1; }

ordered_json columns_object(const MetricSeries& series) {
  ordered_json object = ordered_json::object();
  if (is_one_row(series)) return series.rows.empty() ? object : cells_of(series.rows[0]);
  std::vector<ordered_json> columns(series.columns.size(), ordered_json(series.rows.size(), nullptr));
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < series.columns.size(); ++i) places.emplace(series.columns[i], i);
  for (std::size_t i = 0; i < series.rows.size(); ++i) {
    ordered_json cells = cells_of(series.rows[i]);
    for (auto cell = cells.begin(); cell != cells.end(); ++cell)
      if (const auto place = places.find(cell.key()); place != places.end())
        columns[place->second][i] = std::move(cell.value());
  }
  for (std::size_t i = 0; i < columns.size(); ++i) object[series.columns[i]] = std::move(columns[i]);
  return object;
}

// Evenly spaced indexes of a series with the first and the last kept.
std::vector<std::size_t> thinned_indexes(std::size_t count) {
  std::vector<std::size_t> kept;
  const std::size_t wanted = std::min(count, kMaxMetricValues);
  for (std::size_t i = 0; i < wanted; ++i) kept.push_back(wanted == 1 ? 0 : i * (count - 1) / (wanted - 1));
  return kept;
}

std::string_view type_of(const MetricOverview& metric) {
  if (has_rows(metric.shape)) return "rows";
  if (metric.last && std::holds_alternative<MetricFile>(metric.last->value)) return "file";
  return metric.last && std::holds_alternative<std::string>(metric.last->value) ? "string" : "number";
}

ordered_json last_of(const MetricOverview& metric) {
  if (metric.last) return value_of(metric.last->value);
  return metric.last_row ? cells_of(*metric.last_row) : ordered_json(nullptr);
}

std::string list_document(ordered_json items) {
  const ordered_json document{{"items", std::move(items)}, {"nextToken", nullptr}};
  return dump(document);
}

template <class Logged>
ordered_json item_of(const Logged& logged) {
  ordered_json item;
  item["step"] = logged.step ? ordered_json(*logged.step) : ordered_json(nullptr);
  if constexpr (std::is_same_v<Logged, MetricPoint>)
    item["value"] = value_of(logged.value);
  else
    item["values"] = cells_of(logged);
  item["timeUtc"] = to_iso8601(logged.time);
  return item;
}

template <class Logged>
std::string items_document(std::span<const Logged> all) {
  ordered_json items = ordered_json::array();
  for (const Logged& logged : all) items.push_back(item_of(logged));
  return list_document(std::move(items));
}

}  // namespace

ordered_json metrics_object(std::span<const MetricSeries> metrics, std::vector<std::string>& thinned) {
  ordered_json object = ordered_json::object();
  for (const MetricSeries& series : metrics) {
    if (series.count > static_cast<std::int64_t>(kMaxMetricValues)) thinned.push_back(series.name);
    if (has_rows(series.shape)) {
      object[series.name] = columns_object(series);
    } else if (is_one_value(series)) {
      if (!series.points.empty()) object[series.name] = value_of(series.points.back().value);
    } else {
      ordered_json values = ordered_json::array();
      for (const std::size_t index : thinned_indexes(series.points.size()))
        values.push_back(value_of(series.points[index].value));
      object[series.name] = std::move(values);
    }
  }
  return object;
}

ordered_json last_metrics_object(std::span<const MetricSeries> metrics) {
  ordered_json object = ordered_json::object();
  for (const MetricSeries& series : metrics) {
    if (!series.points.empty()) object[series.name] = value_of(series.points.back().value);
    if (!series.rows.empty()) object[series.name] = cells_of(series.rows.back());
  }
  return object;
}

ordered_json logged_value(const MetricValue& value) {
  const auto* real = std::get_if<double>(&value);
  if (real == nullptr || std::isfinite(*real)) return value_of(value);
  ordered_json special = ordered_json::object();
  special["float"] = std::isnan(*real) ? "nan" : *real > 0 ? "inf" : "-inf";
  return special;
}

std::string json_text(const std::string& text) { return dump(text); }

std::string metric_item(const MetricPoint& point) { return dump(item_of(point)); }
std::string metric_item(const MetricRow& row) { return dump(item_of(row)); }
std::string metric_points_document(std::span<const MetricPoint> points) { return items_document(points); }
std::string metric_rows_document(std::span<const MetricRow> rows) { return items_document(rows); }

std::string metric_overview_document(std::span<const MetricOverview> metrics) {
  ordered_json items = ordered_json::array();
  for (const MetricOverview& metric : metrics) {
    ordered_json item{{"name", metric.name},
                      {"type", type_of(metric)},
                      {"shape", to_string(metric.shape)},
                      {"count", metric.count},
                      {"last", last_of(metric)},
                      {"min", metric.min ? number(*metric.min) : ordered_json(nullptr)},
                      {"max", metric.max ? number(*metric.max) : ordered_json(nullptr)}};
    if (has_rows(metric.shape)) item["columns"] = metric.columns;
    items.push_back(std::move(item));
  }
  return list_document(std::move(items));
}

}  // namespace runner::api
