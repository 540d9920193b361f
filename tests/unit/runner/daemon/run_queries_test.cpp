#include "runner/daemon/run_queries.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <stdexcept>

#include "runner/core/error.hpp"

namespace runner::daemon {
namespace {

struct Place {
  std::filesystem::path path;
  Place() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-queries-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = pattern;
  }
  ~Place() { std::filesystem::remove_all(path); }
};

struct OneRun {
  Place place;
  store::History history{place.path / "runner.db"};
  RunRecord run;
  OneRun() {
    run.id = "train_1_00000001";
    run.experiment = "train";
    run.environment.kind = "none";
    history.add_run(run);
  }
};

http::Request asking(std::vector<std::pair<std::string, std::string>> query) {
  http::Request request;
  request.query = std::move(query);
  return request;
}

}  // namespace

TEST_CASE("every parameter of a list becomes its condition") {
  OneRun db;
  const store::RunFilter filter = filter_of(asking({{"experiment", "e"},
                                                    {"status", "running"},
                                                    {"kind", "Child"},
                                                    {"tag", "a=b"},
                                                    {"tag", "c"},
                                                    {"property", "p=q"},
                                                    {"param", "lr<=0.1"},
                                                    {"metric", "loss.min<1"},
                                                    {"text", "some"},
                                                    {"parent", "00000001"},
                                                    {"recursive", "1"},
                                                    {"children", "1"},
                                                    {"since", "2026-01-01T00:00:00Z"},
                                                    {"until", "2026-01-02T00:00:00Z"},
                                                    {"limit", "7"},
                                                    {"nextToken", "12"}}),
                                            db.history);
  CHECK(filter.experiment == "e");
  CHECK(filter.status == RunStatus::kRunning);
  CHECK(filter.kind == RunKind::kChild);
  CHECK(filter.tags.size() == 2);
  CHECK(filter.properties.size() == 1);
  CHECK(filter.parameters == std::vector{store::parameter_filter("lr<=0.1")});
  CHECK(filter.metrics == std::vector{store::metric_filter("loss.min<1")});
  CHECK(filter.text == "some");
  CHECK(filter.parent == db.run.id);
  CHECK(filter.recursive);
  CHECK(filter.include_children);
  CHECK(*filter.until - *filter.since == std::chrono::hours(24));
  CHECK(filter.limit == 7);
  CHECK(filter.before == 12);
  for (const auto& [name, value] : {std::pair{"kind", "x"},
                                    {"status", "x"},
                                    {"param", "=1"},
                                    {"metric", ""},
                                    {"limit", "-1"},
                                    {"nextToken", "x"},
                                    {"since", "x"},
                                    {"until", ""},
                                    {"other", "1"}}) {
    INFO(name);
    CHECK_THROWS_AS(filter_of(asking({{name, value}}), db.history), Error);
  }
}

TEST_CASE("metrics are read in their shapes, long ones thinned, and of each the last") {
  OneRun db;
  std::vector<MetricValue> values;
  for (std::int64_t i = 0; i < 3000; ++i) values.emplace_back(i);
  db.history.add_metrics(
      db.run.id,
      std::vector<MetricRecord>{{.run = "", .name = "long", .shape = MetricShape::kList, .values = values},
                                {.run = "", .name = "once", .values = {0.5}},
                                {.run = "",
                                 .name = "rows",
                                 .shape = MetricShape::kTable,
                                 .columns = {"a"},
                                 .rows = {R"({"a":1})", R"({"a":2})"}}},
      1);
  const auto metrics = metrics_of(db.history, db.run.id);
  REQUIRE(metrics.size() == 3);
  CHECK(metrics[0].points.size() == api::kMaxMetricValues);
  CHECK(metrics[0].points.back().value == MetricValue(std::int64_t{2999}));
  CHECK(metrics[0].count == 3000);
  CHECK(metrics[1].points.size() == 1);
  CHECK(metrics[2].rows.size() == 2);
  CHECK(metrics[2].columns == std::vector<std::string>{"a"});
  const auto last = last_metrics_of(db.history, db.run.id);
  REQUIRE(last.size() == 3);
  CHECK(last[0].points.size() == 1);
  CHECK(last[2].rows.back().cells == R"({"a":2})");
}

}  // namespace runner::daemon
