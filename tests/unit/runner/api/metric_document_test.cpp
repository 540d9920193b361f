#include "runner/api/exact_metric.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/metric_document.hpp"

using runner::MetricFile;
using runner::MetricFileType;
using runner::MetricPoint;
using runner::MetricRow;
using runner::MetricShape;
using runner::MetricValue;
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

// One value at a time, the smallest pages that there can be.
std::string exact_metric(const MetricSeries& series, std::size_t room = runner::api::kTableRoom) {
  const auto one_of = [](const auto& all, std::int64_t from) {
    auto some = all;
    some.clear();
    if (from < static_cast<std::int64_t>(all.size())) some.push_back(all[static_cast<std::size_t>(from)]);
    return some;
  };
  std::string text;
  runner::api::write_exact_metric(
      {.shape = series.shape, .count = series.count, .columns = series.columns},
      {.points = [&](std::int64_t from) { return one_of(series.points, from); },
       .rows = [&](std::int64_t from) { return one_of(series.rows, from); }},
      [&](std::string_view piece) { text += piece; }, room);
  return text;
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

TEST_CASE("a table is whole however little room there is for its cells") {
  const MetricSeries table =
      rows(MetricShape::kTable, {"a", "b", "c"}, {R"({"a":1,"c":"x"})", R"({"b":2})", R"({"c":3,"b":null})"});
  const std::string wanted = R"({"table":{"a":[1,null,null],"b":[null,2,null],"c":["x",null,3]}})";
  for (const std::size_t room : {std::size_t{0}, std::size_t{60}, std::size_t{120}, std::size_t{1000}})
    CHECK(exact_metric(table, room) == wanted);
}
