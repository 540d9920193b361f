// Metrics that are more than points: lists, rows, tables, files; whose they are; thinned reading.
#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

const std::string kId = "train_1_00000001";

MetricSummary summary_of(const History& history, const std::string& id, const std::string& name) {
  for (const MetricSummary& summary : history.metric_summaries(id))
    if (summary.name == name) return summary;
  FAIL("no metric " << name);
  return {};
}

std::vector<std::string> cells(const std::vector<MetricRow>& rows) {
  std::vector<std::string> all;
  for (const MetricRow& one : rows) all.push_back(one.cells);
  return all;
}
using Texts = std::vector<std::string>;

struct OneRun {
  TemporaryDirectory directory;
  History history{directory / "runner.db"};
  OneRun() { history.add_run(sample_run(kId)); }
};

}  // namespace

TEST_CASE("A list is one however few points it has, and stays one") {
  OneRun db;
  db.history.add_metrics(kId, std::vector{list("one", {1.5}), list("none", {}), point("mixed", 1.0)}, 10);
  db.history.add_metrics(kId, std::vector{list("mixed", {std::int64_t{2}, "x"}), point("one", 2.5)}, 20);
  CHECK(summary_of(db.history, kId, "one").shape == MetricShape::kList);
  CHECK(db.history.metric_points(kId, "one").size() == 2);
  const MetricSummary none = summary_of(db.history, kId, "none");
  CHECK(none.shape == MetricShape::kList);
  CHECK(none.count == 0);
  CHECK_FALSE(none.last);
  CHECK(db.history.metric_points(kId, "none").empty());
  CHECK(summary_of(db.history, kId, "mixed").shape == MetricShape::kList);
  CHECK(summary_of(db.history, kId, "mixed").last->value == MetricValue("x"));
}

TEST_CASE("Rows come back in log order with columns in the order of their appearance") {
  OneRun db;
  db.history.add_metrics(kId, std::vector{row("r", {"z", "a"}, R"({"z":1,"a":2})")}, 10);
  CHECK(summary_of(db.history, kId, "r").shape == MetricShape::kRow);
  db.history.add_metrics(
      kId, std::vector{row("r", {"a", "b"}, R"({"a":3,"b":4})"), table("r", {"c"}, {R"({"c":5})", R"({"c":6})"})}, 20);
  const MetricSummary summary = summary_of(db.history, kId, "r");
  CHECK(summary.shape == MetricShape::kTable);
  CHECK(summary.count == 4);
  CHECK(summary.columns == Texts{"z", "a", "b", "c"});
  CHECK(summary.last_row->cells == R"({"c":6})");
  CHECK_FALSE(summary.last);
  CHECK(cells(db.history.metric_rows(kId, "r")) ==
        Texts{R"({"z":1,"a":2})", R"({"a":3,"b":4})", R"({"c":5})", R"({"c":6})"});
  CHECK(db.history.metric_points(kId, "r").empty());
  db.history.add_metrics(kId, std::vector{table("empty", {"x"}, {})}, 30);
  CHECK(summary_of(db.history, kId, "empty").columns == Texts{"x"});
  CHECK(summary_of(db.history, kId, "empty").count == 0);
}

TEST_CASE("A metric keeps the shape that was logged first, and what is of the other one is told") {
  OneRun db;
  MetricDrops drops = db.history.add_metrics(
      kId, std::vector{row("a", {"x"}, R"({"x":1})"), point("a", 1.0), point("b", 1.0), row("b", {"x"}, R"({"x":1})")},
      10);
  CHECK(drops == MetricDrops{.other_shape = 2, .example = "a"});
  drops += db.history.add_metrics(kId, std::vector{list("a", {1.0})}, 20);
  CHECK(drops.other_shape == 3);
  CHECK(to_text(drops).find("3 records (of 'a' first) of another shape") != std::string::npos);
  CHECK(to_text({}).empty());
  CHECK(db.history.metric_rows(kId, "a").size() == 1);
  CHECK(db.history.metric_points(kId, "b").size() == 1);
}

TEST_CASE("A metric has a thousand columns and no more") {
  OneRun db;
  Texts columns;
  for (std::size_t i = 0; i < kMaxMetricColumns; ++i) columns.push_back("c" + std::to_string(i));
  CHECK(db.history.add_metrics(kId, std::vector{table("t", columns, {})}, 10) == MetricDrops{});
  const auto drops = db.history.add_metrics(
      kId, std::vector{row("t", {"c1", "new"}, R"({"c1":1,"new":1})"), row("t", {"c1"}, R"({"c1":1})")}, 20);
  CHECK(drops == MetricDrops{.too_wide = 1});
  CHECK(summary_of(db.history, kId, "t").columns == columns);
  CHECK(db.history.metric_rows(kId, "t").size() == 1);
}

TEST_CASE("A value that is a file comes back as one") {
  OneRun db;
  const MetricFile file{.artifact = "a/\"b\".png", .type = MetricFileType::kResiduals};
  db.history.add_metrics(kId, std::vector{point("f", file), point("f", 1.0), point("f", file)}, 10);
  const auto points = db.history.metric_points(kId, "f");
  REQUIRE(points.size() == 3);
  CHECK(points[0].value == MetricValue(file));
  CHECK(points[1].value == MetricValue(1.0));
  CHECK(summary_of(db.history, kId, "f").last->value == MetricValue(file));
  CHECK(summary_of(db.history, kId, "f").max == 1.0);
}

TEST_CASE("A journal speaks of its run and those below it, while they live") {
  OneRun db;
  const std::string other = "train_1_00000002";
  db.history.add_run(sample_run(other));
  db.history.add_children(kId, std::vector<NewChild>{{.id = "c1", .name = "c1"}, {.id = "c2", .name = "c2"}}, at(5));
  db.history.add_children("c1", std::vector<NewChild>{{.id = "g1", .name = "g1"}}, at(6));
  db.history.end("c2", RunStatus::kCompleted, "", {}, at(7));
  const auto records = std::vector{point("m", 1.0),
                                   of_run(kId, point("m", 2.0)),
                                   of_run("c1", point("m", 3.0)),
                                   of_run("g1", row("m", {"a"}, R"({"a":1})")),
                                   of_run("c2", point("m", 4.0)),
                                   of_run(other, point("m", 5.0)),
                                   of_run("nobody", point("m", 6.0))};
  CHECK(db.history.add_metrics(kId, records, 10) == MetricDrops{.foreign = 2, .ended = 1});
  CHECK(db.history.metric_points(kId, "m").size() == 2);
  CHECK(db.history.metric_points("c1", "m").size() == 1);
  CHECK(db.history.metric_rows("g1", "m").size() == 1);
  CHECK(db.history.metric_summaries("c2").empty());
  CHECK(db.history.metric_summaries(other).empty());
  // A child's own journal says nothing of its parent.
  CHECK(db.history.add_metrics("c1", std::vector{of_run(kId, point("m", 1.0))}, 10) == MetricDrops{.foreign = 1});
  // Said again, it is not taken again: the offset is that of the journal's run.
  CHECK(db.history.add_metrics(kId, records, 10) == MetricDrops{});
  CHECK(db.history.metric_points("c1", "m").size() == 1);
}

TEST_CASE("Reading fewer points than there are keeps the first and the last and is evenly spaced") {
  OneRun db;
  std::vector<MetricValue> values;
  for (std::int64_t i = 0; i < 1001; ++i) values.emplace_back(i);
  db.history.add_metrics(kId, std::vector{list("m", values)}, 10);
  const auto read = [&](std::int64_t at_most) {
    std::vector<std::int64_t> found;
    for (const auto& one : db.history.metric_points(kId, "m", at_most))
      found.push_back(std::get<std::int64_t>(one.value));
    return found;
  };
  using Numbers = std::vector<std::int64_t>;
  CHECK(read(3) == Numbers{0, 500, 1000});
  CHECK(read(5) == Numbers{0, 250, 500, 750, 1000});
  CHECK(read(1) == Numbers{1000});
  CHECK(read(0).empty());
  CHECK(read(1001).size() == 1001);
  CHECK(read(5000).size() == 1001);
  CHECK(read(1000).size() == 1000);
  std::vector<std::string> rows;
  for (int i = 0; i < 101; ++i) rows.push_back("{\"i\":" + std::to_string(i) + "}");
  db.history.add_metrics(kId, std::vector{table("t", {"i"}, rows)}, 20);
  CHECK(cells(db.history.metric_rows(kId, "t", 3)) == Texts{R"({"i":0})", R"({"i":50})", R"({"i":100})"});
}

TEST_CASE("Lists and tables of a batch that is not committed leave nothing") {
  OneRun db;
  CHECK_THROWS(db.history.add_metrics("nobody", std::vector{list("l", {1.0})}, 10));
  CHECK(db.history.metric_summaries(kId).empty());
}
