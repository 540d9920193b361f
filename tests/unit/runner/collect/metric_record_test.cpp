#include "runner/collect/metric_record.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "runner/collect/plain_point.hpp"

namespace runner::collect {
namespace {

MetricRecord metric(std::string_view text) {
  auto record = parse_record(text);
  INFO(text);
  REQUIRE(record);
  REQUIRE(std::holds_alternative<MetricRecord>(*record));
  return std::get<MetricRecord>(std::move(*record));
}

using Texts = std::vector<std::string>;
using Values = std::vector<MetricValue>;

}  // namespace

TEST_CASE("a list is so many points, and an empty one is one, too") {
  const auto list = metric(R"({"list":"l","values":[1,2.5,"x",{"float":"inf"}],"step":7,"time":5})");
  CHECK(list.shape == MetricShape::kList);
  CHECK(list.name == "l");
  CHECK(list.step == 7);
  CHECK(list.values == Values{std::int64_t{1}, 2.5, "x", INFINITY});
  CHECK(metric(R"({"list":"l","values":[],"time":5})").values.empty());
}

TEST_CASE("a row keeps its columns' order and its values as they were written") {
  const auto row = metric(
      R"({"values":{"z":1,"a":0.1,"ü":"\"","n":{"float":"nan"},"e":null,"f":{"type":"image","artifact":"a/b.png"}},)"
      R"("row":"r","time":5,"run":"child"})");
  CHECK(row.shape == MetricShape::kRow);
  CHECK(row.run == "child");
  CHECK(row.columns == Texts{"z", "a", "ü", "n", "e", "f"});
  REQUIRE(row.rows.size() == 1);
  CHECK(row.rows[0] == R"({"z":1,"a":0.1,"ü":"\"","n":{"float":"nan"},"e":null,)"
                       R"("f":{"artifact":"a/b.png","type":"image"}})");
}

TEST_CASE("a table is rows, and a shorter column is absent from the last of them") {
  const auto table = metric(R"({"table":"t","values":{"a":[1,2,3],"b":["x"],"c":[]},"time":5})");
  CHECK(table.shape == MetricShape::kTable);
  CHECK(table.columns == Texts{"a", "b", "c"});
  CHECK(table.rows == Texts{R"({"a":1,"b":"x"})", R"({"a":2})", R"({"a":3})"});
  CHECK(metric(R"({"table":"t","values":{"a":[]},"time":5})").rows.empty());
}

TEST_CASE("an artifact's record names a file below the run's own directory") {
  const auto record = parse_record(R"({"artifact":"a/b.png","bytes":12,"time":5,"run":"c"})");
  REQUIRE(record);
  CHECK(std::get<JournalArtifact>(*record) == JournalArtifact{.run = "c", .name = "a/b.png", .bytes = 12});
  for (const char* name : {"", "/a", "a/", "a//b", ".", "..", "a/../b", "../x", "./a", "a\\u0000b"}) {
    INFO(name);
    CHECK_FALSE(parse_record(R"({"artifact":")" + std::string(name) + R"(","bytes":1,"time":5})"));
  }
  CHECK_FALSE(parse_record(R"({"artifact":"a","bytes":-1,"time":5})"));
  CHECK_FALSE(parse_record(R"({"artifact":"a","bytes":1.5,"time":5})"));
  CHECK_FALSE(parse_record(R"({"artifact":"a","time":5})"));
}

TEST_CASE("a value may be a file of a known kind") {
  const auto file = metric(R"({"metric":"m","value":{"artifact":"x.png","type":"confusion_matrix"},"time":5})");
  CHECK(file.values == Values{MetricFile{.artifact = "x.png", .type = MetricFileType::kConfusionMatrix}});
  for (const char* value : {R"({"artifact":"x.png"})", R"({"type":"image"})", R"({"artifact":"x","type":"video"})",
                            R"({"artifact":"../x","type":"image"})", R"({"artifact":"x","type":"image","float":"nan"})",
                            R"({"artifact":"x","type":"image","more":"x"})", "{}", "[1]", "null", "true",
                            R"({"float":{"float":"nan"}})", R"({"float":["nan"]})"}) {
    INFO(value);
    CHECK_FALSE(parse_record(R"({"metric":"m","time":5,"value":)" + std::string(value) + "}"));
  }
}

TEST_CASE("members may come in any order, and those of somebody else are passed over") {
  const auto point = metric(
      R"( {"x":[{"a":[null,true,{}]}],"y":{"values":[],"time":"never"},"value":1,"z":null,"b":true,"time":5,"metric":"m"} )");
  CHECK(point.values == Values{std::int64_t{1}});
  CHECK(metric(R"({"value":1,"value":2,"time":5,"metric":"m"})").values == Values{std::int64_t{2}});
  CHECK(metric(R"({"list":"m","values":[1],"values":[2,3],"time":5})").values ==
        Values{std::int64_t{2}, std::int64_t{3}});
}

TEST_CASE("what is not of the grammar is no record") {
  for (const char* text : {"",
                           "1",
                           "true",
                           "[]",
                           "null",
                           R"("x")",
                           "{}",
                           R"({"metric":"m","value":1})",
                           R"({"metric":"","value":1,"time":1})",
                           R"({"metric":1,"value":1,"time":1})",
                           R"({"metric":"m","list":"m","value":1,"values":[],"time":1})",
                           R"({"metric":"m","value":1,"time":1.5})",
                           R"({"metric":"m","value":1,"time":1,"run":5})",
                           R"({"metric":"m","values":[1],"time":1})",
                           R"({"list":"m","value":1,"time":1})",
                           R"({"list":"m","values":{"a":1},"time":1})",
                           R"({"list":"m","values":[[1]],"time":1})",
                           R"({"list":"m","values":[null],"time":1})",
                           R"({"list":"m","values":[true],"time":1})",
                           R"({"list":"m","values":1,"time":1})",
                           R"({"row":"m","values":[1],"time":1})",
                           R"({"row":"m","values":{},"time":1})",
                           R"({"row":"m","values":{"a":[1]},"time":1})",
                           R"({"row":"m","values":{"a":1,"a":2},"time":1})",
                           R"({"table":"m","values":{},"time":1})",
                           R"({"table":"m","values":{"a":1},"time":1})",
                           R"({"table":"m","values":{"a":[1],"b":2},"time":1})",
                           R"({"table":"m","values":{"a":[[1]]},"time":1})",
                           R"({"table":"m","values":{"a":[1],"a":[2]},"time":1})",
                           R"({"metric":"m","value":1e999,"time":1})",
                           R"({"metric":"m","value":1,"time":1}x)",
                           R"({"metric":"m","value":1,"time":1)",
                           "{\"row\":\"m\",\"values\":{\"\xff\":1},\"time\":1}"}) {
    INFO(text);
    CHECK_FALSE(parse_record(text));
  }
}

TEST_CASE("names and columns have bounds") {
  const std::string longest(kMaxMetricName, 'x');
  const auto point = [](const std::string& name) { return R"({"value":1,"time":1,"metric":")" + name + "\"}"; };
  CHECK(parse_record(point(longest)));
  CHECK_FALSE(parse_record(point(longest + "x")));
  const auto row = [](std::size_t columns) {
    std::string text = R"({"row":"r","time":1,"values":{)";
    for (std::size_t i = 0; i < columns; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
    return text + "}}";
  };
  CHECK(parse_record(row(kMaxMetricColumns)));
  CHECK_FALSE(parse_record(row(kMaxMetricColumns + 1)));
}

TEST_CASE("a megabyte of a hostile record takes no more than a moment") {
  const auto begin = std::chrono::steady_clock::now();
  std::string ragged = R"({"table":"t","time":1,"values":{"a":[)";
  for (int i = 0; i < 400'000; ++i) ragged += i == 0 ? "1" : ",1";
  ragged += ']';
  for (std::size_t i = 1; i < kMaxMetricColumns; ++i) ragged += ",\"" + std::to_string(i) + "\":[]";
  const auto table = metric(ragged + "}}");
  CHECK(table.rows.size() == 400'000);
  CHECK(table.rows.back() == R"({"a":1})");
  std::string keys = R"({"row":"r","time":1,"values":{)";
  for (int i = 0; i < 100'000; ++i) keys += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  CHECK_FALSE(parse_record(keys + "}}"));
  for (const char* opening : {"[", "{\"a\":", R"({"x":[)", R"({"value":{"a":)"}) {
    std::string deep;
    while (deep.size() < 1 << 20) deep += opening;
    CHECK_FALSE(parse_record(deep));
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));  // a sanitizer's; else under one
}

TEST_CASE("what a row says is what nlohmann's parser reads in it") {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    nlohmann::ordered_json values = nlohmann::ordered_json::object();
    const auto columns = 1 + random() % 5;
    for (std::size_t column = 0; column < columns; ++column) {
      auto& value = values["c" + std::to_string(column) + (random() % 3 == 0 ? "\n\"é" : "")];
      switch (random() % 4) {
        case 0:
          value = static_cast<std::int64_t>((std::uint64_t{random()} << 32) | random());
          break;
        case 1:
          value = std::ldexp(static_cast<double>(random()) - 2e9, static_cast<int>(random() % 1900) - 950);
          break;
        case 2:
          value = std::string(random() % 4, 'x') + "\\\t\xF0\x9F\x98\x80";
          break;
        default:
          value = nullptr;
      }
    }
    const nlohmann::ordered_json record{{"row", "r"}, {"values", values}, {"time", 1}};
    CHECK(nlohmann::ordered_json::parse(metric(record.dump()).rows[0]) == values);
  }
}

TEST_CASE("a plain point is what the whole grammar reads in it") {
  const auto point = parse_plain_point(R"({"metric": "loss", "value": 0.5, "step": 3, "time": 7})");
  REQUIRE(point);
  CHECK(point->name == "loss");
  CHECK(point->values == Values{0.5});
  CHECK(point->step == 3);
  CHECK(point->time == UtcTime{std::chrono::microseconds{7}});
  CHECK(parse_plain_point(R"({"time":7,"value":-9223372036854775808,"metric":"a b/c:0"})")->values ==
        Values{std::numeric_limits<std::int64_t>::min()});
  for (const char* other : {R"({"metric":"m","value":"x","time":1})",
                            R"({"metric":"m","value":{"float":"nan"},"time":1})",
                            R"({"metric":"ü","value":1,"time":1})",
                            R"({"metric":"\u0041","value":1,"time":1})",
                            R"({"metric":"m","value":1,"value":2,"time":1})",
                            R"({"metric":"m","value":9223372036854775808,"time":1})",
                            R"({"metric":"m","value":1e999,"time":1})",
                            R"({"metric":"m","value":01,"time":1})",
                            R"({"metric":"m","value":1.,"time":1})",
                            R"({"metric":"m","value":.5,"time":1})",
                            R"({"metric":"m","value":+1,"time":1})",
                            R"({"metric":"m","value":1e,"time":1})",
                            R"({"metric":"m","value":-,"time":1})",
                            R"({"metric":"m","value":inf,"time":1})",
                            R"({"metric":"m","value":1,"time":1.0})",
                            R"({"metric":"m","value":1,"time":1,})",
                            R"({"metric":"m","value":1,"time":1} )",
                            R"({"metric":"","value":1,"time":1})",
                            R"({"metric":"m","value":1)",
                            R"({"metric":"m","value":1,"time":1,"run":"r"})",
                            R"({"list":"m","value":1,"time":1})",
                            "{",
                            "",
                            "{}"}) {
    INFO(other);
    CHECK_FALSE(parse_plain_point(other));
  }
}

TEST_CASE("whatever is made of a point's pieces, the short way says what the long one says, or nothing") {
  std::mt19937 random(5);
  const std::vector<std::string> pieces{
      "{",        "}", ",",  ", ",  ":",      ": ",   "\"metric\"",           "\"value\"", "\"step\"", "\"time\"",
      "\"loss\"", "1", "-0", "0.1", "5e-324", "1E+5", "12345678901234567890", "null"};
  const std::vector<std::string> members{R"("metric": "a")", R"("value": -1.25e3)", R"("step":4)", R"("time": 12)"};
  int plain = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text = "{";
    const auto count = 2 + random() % 4;
    for (std::size_t member = 0; member < count; ++member)
      text += (member == 0 ? "" : ", ") + members[random() % members.size()];
    text += "}";
    if (random() % 2 == 0) {
      const auto at = random() % text.size();
      text.replace(at, random() % 3, pieces[random() % pieces.size()]);
    }
    const auto point = parse_plain_point(text);
    if (!point) continue;
    ++plain;
    INFO(text);
    const auto any = parse_any_record(text);
    REQUIRE(any);
    const auto& record = std::get<MetricRecord>(*any);
    REQUIRE((record.name == point->name && record.values == point->values && record.step == point->step &&
             record.time == point->time && record.shape == point->shape));
  }
  CHECK(plain > 1000);
}

}  // namespace runner::collect
