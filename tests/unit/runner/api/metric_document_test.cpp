#include "runner/api/metric_document.hpp"

#include <catch2/catch.hpp>
#include <limits>

using runner::MetricFile;
using runner::MetricFileType;
using runner::MetricPoint;
using runner::MetricRow;
using runner::MetricShape;
using runner::MetricValue;
using runner::api::exact_metric;
using runner::api::MetricSeries;

namespace {

MetricSeries points(MetricShape shape, std::vector<MetricValue> values) {
  MetricSeries series{.name = "m", .shape = shape, .count = static_cast<std::int64_t>(values.size())};
  for (MetricValue& value : values) {
    MetricPoint& point = series.points.emplace_back();
    point.value = std::move(value);
  }
  return series;
}

MetricSeries rows(MetricShape shape, std::vector<std::string> columns, const std::vector<std::string>& cells) {
  MetricSeries series{.name = "m", .shape = shape, .count = static_cast<std::int64_t>(cells.size())};
  for (const std::string& one : cells) {
    MetricRow& row = series.rows.emplace_back();
    row.cells = one;
  }
  series.columns = std::move(columns);
  return series;
}

}  // namespace

TEST_CASE("a metric that was logged once is a value, exactly as it was logged") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto value = [](MetricValue any) { return exact_metric(points(MetricShape::kValue, {std::move(any)})); };
  CHECK(value(0.1) == R"({"value":0.1})");
  CHECK(value(1.0) == R"({"value":1.0})");
  CHECK(value(-0.0) == R"({"value":-0.0})");
  CHECK(value(std::int64_t{9223372036854775807}) == R"({"value":9223372036854775807})");
  CHECK(value(std::string("NaN")) == R"({"value":"NaN"})");
  CHECK(value(std::numeric_limits<double>::quiet_NaN()) == R"({"value":{"float":"nan"}})");
  CHECK(value(kInfinity) == R"({"value":{"float":"inf"}})");
  CHECK(value(-kInfinity) == R"({"value":{"float":"-inf"}})");
  CHECK(value(MetricFile{.artifact = "p.png", .type = MetricFileType::kImage}) ==
        R"({"value":{"artifact":"p.png","type":"image"}})");
}

TEST_CASE("what was logged more often, or as a list, is one") {
  CHECK(exact_metric(points(MetricShape::kValue, {std::int64_t{1}, 0.5})) == R"({"list":[1,0.5]})");
  CHECK(exact_metric(points(MetricShape::kList, {std::int64_t{1}})) == R"({"list":[1]})");
  CHECK(exact_metric(points(MetricShape::kList, {})) == R"({"list":[]})");
}

TEST_CASE("one row is its cells, several are columns with null where a row has none") {
  CHECK(exact_metric(rows(MetricShape::kRow, {"b", "a"}, {R"({"b":{"float":"nan"},"a":"NaN"})"})) ==
        R"({"row":{"b":{"float":"nan"},"a":"NaN"}})");
  CHECK(exact_metric(rows(MetricShape::kRow, {"a", "b"}, {R"({"a":1})", R"({"b":{"float":"-inf"}})"})) ==
        R"({"table":{"a":[1,null],"b":[null,{"float":"-inf"}]}})");
  CHECK(exact_metric(rows(MetricShape::kTable, {"a"}, {R"({"a":1})"})) == R"({"table":{"a":[1]}})");
  CHECK(exact_metric(rows(MetricShape::kTable, {"a"}, {})) == R"({"table":{"a":[]}})");
}
