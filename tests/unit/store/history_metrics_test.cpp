#include <cmath>
#include <limits>

#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

MetricRecord real(const std::string& name, double value, std::optional<std::int64_t> step = std::nullopt,
                  std::int64_t time = 1) {
  return point(name, value, step, time);
}
MetricRecord integer(const std::string& name, std::int64_t value) { return point(name, value); }
MetricRecord text(const std::string& name, const std::string& value) { return point(name, value); }

double real_of(const MetricPoint& point) { return std::get<double>(point.value); }

const std::string kId = "train_1_00000001";

}  // namespace

TEST_CASE("Every kind of metric value round-trips in log order") {
  const TemporaryDirectory directory;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();
  const std::string odd("näme\n\0x", 8);
  {
    History history(directory / "runner.db");
    history.add_run(sample_run(kId));
    const std::vector<MetricRecord> points{
        real(odd, 0.1, 7, 99),  real(odd, std::nan("")), real(odd, kInfinity),
        real(odd, -kInfinity),  real(odd, -0.0),         real(odd, 2.0),
        integer(odd, kLargest), integer(odd, kSmallest), text(odd, std::string("a\0b", 3)),
        text(odd, "")};
    history.add_metrics(kId, points, 1);
  }
  const History history(directory / "runner.db");
  const auto points = history.metric_points(kId, odd);
  REQUIRE(points.size() == 10);
  CHECK(points[0].name == odd);
  CHECK(points[0].value == MetricValue(0.1));
  CHECK(points[0].step == 7);
  CHECK(points[0].time == at(99));
  CHECK_FALSE(points[1].step);
  CHECK(std::isnan(real_of(points[1])));
  CHECK(points[2].value == MetricValue(kInfinity));
  CHECK(points[3].value == MetricValue(-kInfinity));
  CHECK(std::signbit(real_of(points[4])));
  CHECK(points[5].value == MetricValue(2.0));  // a float stays one
  CHECK(points[6].value == MetricValue(kLargest));
  CHECK(points[7].value == MetricValue(kSmallest));
  CHECK(points[8].value == MetricValue(std::string("a\0b", 3)));
  CHECK(points[9].value == MetricValue(""));
  CHECK(history.metric_points(kId, "other").empty());
}

TEST_CASE("Summaries count everything and take minimum and maximum of the finite numbers") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kId));
  history.add_metrics(kId, std::vector{real("loss", 3), real("loss", std::nan("")), text("note", "x"), real("loss", 1)},
                      10);
  history.add_metrics(kId, std::vector{integer("loss", 9), real("loss", HUGE_VAL, 4, 5), real("acc", HUGE_VAL)}, 20);
  const auto summaries = history.metric_summaries(kId);
  REQUIRE(summaries.size() == 3);
  CHECK(summaries[0].name == "acc");
  CHECK_FALSE(summaries[0].min);
  CHECK(summaries[1].name == "loss");
  CHECK(summaries[1].count == 5);
  CHECK(summaries[1].min == 1.0);
  CHECK(summaries[1].max == 9.0);
  CHECK(summaries[1].last->value == MetricValue(HUGE_VAL));
  CHECK(summaries[1].last->step == 4);
  CHECK(summaries[1].last->time == at(5));
  CHECK(summaries[2].last->value == MetricValue("x"));
  CHECK_FALSE(summaries[2].max);
}

TEST_CASE("A part of the journal that was read before adds nothing") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run(kId));
  history.add_metrics(kId, std::vector{real("a", 1)}, 100);
  history.add_metrics(kId, std::vector{real("a", 1)}, 100);
  history.add_metrics(kId, std::vector{real("a", 1)}, 50);
  CHECK(history.journal_offset(kId) == 100);
  CHECK(history.metric_points(kId, "a").size() == 1);
  history.add_metrics(kId, {}, 120);  // damaged records only
  CHECK(history.journal_offset(kId) == 120);
  CHECK(error_of([&] { history.add_metrics("none", {}, 1); }).code() == ErrorCode::kNotFound);
  CHECK(error_of([&] { history.journal_offset("none"); }).code() == ErrorCode::kNotFound);
  CHECK(error_of([&] { history.metric_points("none", "a"); }).code() == ErrorCode::kNotFound);
}

TEST_CASE("Points and their journal offset survive a crash together") {
  const TemporaryDirectory directory;
  crash_after([&] {
    History history(directory / "runner.db");
    history.add_run(sample_run(kId));
    for (std::int64_t i = 1; i <= 50; ++i) history.add_metrics(kId, std::vector{integer("i", i)}, i * 10);
  });
  const History history(directory / "runner.db");
  const auto points = history.metric_points(kId, "i");
  CHECK(static_cast<std::int64_t>(points.size()) * 10 == history.journal_offset(kId));
  CHECK(points.size() == 50);
}
