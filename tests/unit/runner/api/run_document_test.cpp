#include <catch2/catch.hpp>

#include <limits>
#include <nlohmann/json.hpp>

#include "runner/api/run_document.hpp"

using nlohmann::json;
using runner::MetricPoint;
using runner::MetricShape;
using runner::RunRecord;
namespace api = runner::api;

namespace {

RunRecord sample() {
  RunRecord run;
  run.id = "exp_1700000000_0123abcd";
  run.experiment = "exp";
  run.name = "first";
  run.created = runner::UtcTime{std::chrono::seconds{1700000000}};
  run.definition.script = "train.py";
  run.definition.arguments = {"--x"};
  run.definition.max_run_duration = std::chrono::seconds{90};
  run.tags = {{"bare", std::nullopt}, {"quality", "good"}};
  run.environment.kind = "interpreter";
  return run;
}

MetricPoint real(double value) { return {.name = "m", .value = value}; }

}  // namespace

TEST_CASE("a run document has every key of the contract, null where there is nothing") {
  const auto document = json::parse(api::run_document(sample(), {}));
  for (const char* key :
       {"runId",        "kind",       "experiment",      "name",     "status",      "statusReason", "createdTimeUtc",
        "startTimeUtc", "endTimeUtc", "durationSeconds", "attempt",  "parentRunId", "snapshotId",   "tags",
        "properties",   "metrics",    "outputs",         "logFiles", "git",         "environment",  "isolation",
        "outcome",      "error",      "runDefinition",   "machine",  "parameters"}) {
    INFO(key);
    CHECK(document.contains(key));
  }
  CHECK(document["tags"] == json{{"bare", nullptr}, {"quality", "good"}});
  CHECK(document["properties"] == json::object());
  CHECK(document["metrics"] == json::object());
  CHECK(document["outputs"] == json::array());
  CHECK(document["git"].is_null());
  CHECK(document["outcome"].is_null());
  CHECK(document["createdTimeUtc"] == "2023-11-14T22:13:20.000000Z");
  CHECK(document["runDefinition"]["maxRunDurationSeconds"] == 90);
  CHECK(document["runDefinition"]["environmentVariables"] == json::object());
  CHECK(document["environment"]["lockDigest"].is_null());
  CHECK(document["environment"]["image"].is_null());
  CHECK(document["runDefinition"]["image"].is_null());
  CHECK(document["runDefinition"]["imageInterpreter"].is_null());
  CHECK(document["runDefinition"]["secrets"] == json::array());
  CHECK(document["runDefinition"]["engine"] == json::object());
  CHECK(document["machine"].is_null());
  CHECK(document["parameters"] == json::object());
}

TEST_CASE("a run document has the machine, null where a fact is not known, and the parameters") {
  RunRecord run = sample();
  runner::MachineFacts& known = run.definition.machine.emplace();
  known.hostname = "h";
  known.cpus = 4;
  known.memory_bytes = 1 << 30;
  api::RunDetails details;
  details.parameters = {{"lr", "0.1"}, {"x", "true"}};
  const auto document = json::parse(api::run_document(run, details));
  CHECK(document["parameters"] == json{{"lr", "0.1"}, {"x", "true"}});
  const json& machine = document["machine"];
  CHECK(machine["hostname"] == "h");
  CHECK(machine["cpus"] == 4);
  CHECK(machine["memoryBytes"] == 1 << 30);
  for (const char* unknown : {"system", "kernel", "architecture", "processor", "gpuDriver"})
    CHECK(machine.at(unknown).is_null());
}

TEST_CASE("a run in an image says which one it was, and which options its container had") {
  auto run = sample();
  run.environment.image = runner::ImageRef{.id = "sha256:ab", .digest = "", .platform = "linux/amd64"};
  run.definition.image = "python:3.11";
  run.definition.image_interpreter = "/opt/python";
  run.definition.secrets = {"TOKEN"};
  run.definition.engine.network = "host";
  run.definition.engine.ulimits = {{.name = "nofile", .soft = 1, .hard = 2}};
  run.definition.engine.labels = {{"a", "b"}};
  run.definition.engine.cpu_shares = 2;
  const auto document = json::parse(api::run_document(run, {}));
  CHECK(document["environment"]["image"] ==
        json{{"id", "sha256:ab"}, {"digest", nullptr}, {"platform", "linux/amd64"}});
  CHECK(document["runDefinition"]["image"] == "python:3.11");
  CHECK(document["runDefinition"]["imageInterpreter"] == "/opt/python");
  CHECK(document["runDefinition"]["secrets"] == json::array({"TOKEN"}));
  CHECK(document["runDefinition"]["engine"] ==
        json::parse(R"({"network": "host", "labels": {"a": "b"}, "ulimits": [{"name": "nofile", "soft": 1, "hard": 2}],
                        "cpuShares": 2})"));
  run.environment.image->digest = "python@sha256:cd";
  CHECK(json::parse(api::run_document(run, {}))["environment"]["image"]["digest"] == "python@sha256:cd");
}

TEST_CASE("a metric logged once is a value, more often a list, long ones are thinned with both ends kept") {
  api::RunDetails details;
  details.metrics.push_back({.name = "once", .count = 1, .points = {real(0.5)}});
  details.metrics.push_back(
      {.name = "odd",
       .count = 2,
       .points = {real(std::numeric_limits<double>::quiet_NaN()), real(-std::numeric_limits<double>::infinity())}});
  api::MetricSeries series{.name = "long", .count = 5000, .points = {}};
  for (int i = 0; i < 5000; ++i) series.points.push_back(real(i));
  details.metrics.push_back(series);
  const auto document = json::parse(api::run_document(sample(), details));
  CHECK(document["metrics"]["once"] == 0.5);
  CHECK(document["metrics"]["odd"] == json{"NaN", "-Infinity"});
  CHECK(document["metrics"]["long"].size() == api::kMaxMetricValues);
  CHECK(document["metrics"]["long"].front() == 0.0);
  CHECK(document["metrics"]["long"].back() == 4999.0);
  CHECK(document["metricsThinned"] == json{"long"});
}

TEST_CASE("a list is a list however short it is") {
  api::RunDetails details;
  details.metrics = {{.name = "one", .shape = MetricShape::kList, .count = 1, .points = {real(0.5)}},
                     {.name = "none", .shape = MetricShape::kList}};
  const auto metrics = json::parse(api::run_document(sample(), details))["metrics"];
  CHECK(metrics == json{{"one", json::array({0.5})}, {"none", json::array()}});
}

TEST_CASE("one row is its values, several and a table are columns of lists with null where a row has none") {
  api::RunDetails details;
  details.metrics = {
      {.name = "once",
       .shape = MetricShape::kRow,
       .count = 1,
       .rows = {{.cells = R"({"b":1,"a":{"float":"nan"},"f":{"artifact":"x.png","type":"image"}})"}},
       .columns = {"b", "a", "f"}},
      {.name = "twice",
       .shape = MetricShape::kRow,
       .count = 2,
       .rows = {{.cells = R"({"b":1,"a":"x"})"}, {.cells = R"({"b":{"float":"-inf"},"c":null})"}},
       .columns = {"b", "a", "c"}},
      {.name = "table",
       .shape = MetricShape::kTable,
       .count = 1,
       .rows = {{.cells = R"({"a":1})"}},
       .columns = {"a", "empty"}},
      {.name = "damaged", .shape = MetricShape::kTable, .count = 1, .rows = {{.cells = "{"}}, .columns = {"a"}}};
  const auto text = api::run_document(sample(), details);
  const auto metrics = json::parse(text)["metrics"];
  CHECK(metrics["once"] == json{{"b", 1}, {"a", "NaN"}, {"f", {{"artifact", "x.png"}, {"type", "image"}}}});
  CHECK(metrics["twice"] == json{{"b", {1, "-Infinity"}}, {"a", {"x", nullptr}}, {"c", {nullptr, nullptr}}});
  CHECK(metrics["table"] == json{{"a", json::array({1})}, {"empty", json::array({nullptr})}});
  CHECK(metrics["damaged"] == json{{"a", json::array({nullptr})}});
  CHECK(text.find(R"("once":{"b":1,"a":)") != std::string::npos);  // columns in the order of their appearance
}

TEST_CASE("a value that is a file names its artifact") {
  api::RunDetails details;
  details.metrics = {{.name = "plot",
                      .count = 1,
                      .points = {{.name = "plot",
                                  .value = runner::MetricFile{.artifact = "p.png",
                                                              .type = runner::MetricFileType::kConfusionMatrix}}}}};
  CHECK(json::parse(api::run_document(sample(), details))["metrics"]["plot"] ==
        json{{"artifact", "p.png"}, {"type", "confusion_matrix"}});
}

TEST_CASE("the overview of metrics says what each is") {
  const std::vector<api::MetricOverview> metrics{
      {.name = "m", .shape = MetricShape::kList, .count = 2, .last = real(2), .min = 1, .max = 2},
      {.name = "empty", .shape = MetricShape::kList},
      {.name = "r",
       .shape = MetricShape::kRow,
       .count = 1,
       .last_row = runner::MetricRow{.cells = R"({"a":1})"},
       .columns = {"a"}}};
  const auto items = json::parse(api::metric_overview_document(metrics))["items"];
  CHECK(items[0] == json{{"name", "m"},
                         {"type", "number"},
                         {"shape", "list"},
                         {"count", 2},
                         {"last", 2.0},
                         {"min", 1.0},
                         {"max", 2.0}});
  CHECK(items[1]["last"].is_null());
  CHECK(items[2]["type"] == "rows");
  CHECK(items[2]["last"] == json{{"a", 1}});
  CHECK(items[2]["columns"] == json{"a"});
  const std::vector<runner::MetricRow> rows{{.step = 3, .time = {}, .cells = R"({"a":1})"}};
  const auto row = json::parse(api::metric_rows_document(rows))["items"][0];
  CHECK(row["step"] == 3);
  CHECK(row["values"] == json{{"a", 1}});
}

TEST_CASE("outputs and log files are told apart by their prefix") {
  api::RunDetails details;
  details.artifacts = {{.name = "logs/a.csv", .bytes = 1, .sha256 = {}},
                       {.name = "outputs/m", .bytes = 2, .sha256 = {}},
                       {.name = "user_logs/std_log.txt", .bytes = 3, .sha256 = {}}};
  const auto document = json::parse(api::run_document(sample(), details));
  CHECK(document["outputs"].size() == 1);
  CHECK(document["outputs"][0]["name"] == "outputs/m");
  CHECK(document["logFiles"] == json{"logs/a.csv", "user_logs/std_log.txt"});
}

TEST_CASE("a list has items without outputs and with the last metric values, text that is not UTF-8 is replaced") {
  auto run = sample();
  run.name = "bad \xff name";
  const std::vector<api::ListedRun> runs{
      {.run = run, .last_metrics = {{.name = "m", .count = 3, .points = {real(2)}}}}};
  const auto document = json::parse(api::run_list_document(runs));
  CHECK(document["nextToken"].is_null());
  CHECK(json::parse(api::run_list_document(runs, {}, "17"))["nextToken"] == "17");
  REQUIRE(document["items"].size() == 1);
  CHECK(document["items"][0]["metrics"]["m"] == 2.0);
  CHECK_FALSE(document["items"][0].contains("outputs"));
  CHECK(document["items"][0]["name"] == "bad \xEF\xBF\xBD name");
}
