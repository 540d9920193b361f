#include <cmath>
#include <limits>

#include "fixture.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

MetricPoint real(const std::string& name, double value, std::optional<std::int64_t> step = std::nullopt,
                 std::int64_t time = 1) {
  MetricPoint point;
  point.name = name;
  point.real = value;
  point.step = step;
  point.time = at(time);
  return point;
}
MetricPoint integer(const std::string& name, std::int64_t value) {
  MetricPoint point;
  point.name = name;
  point.integer = value;
  return point;
}
MetricPoint text(const std::string& name, const std::string& value) {
  MetricPoint point;
  point.name = name;
  point.text = value;
  return point;
}

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
    const std::vector<MetricPoint> points{
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
  CHECK(points[0].real == 0.1);
  CHECK(points[0].step == 7);
  CHECK(points[0].time == at(99));
  CHECK_FALSE(points[1].step);
  REQUIRE(points[1].real);
  CHECK(std::isnan(*points[1].real));
  CHECK(points[2].real == kInfinity);
  CHECK(points[3].real == -kInfinity);
  REQUIRE(points[4].real);
  CHECK(std::signbit(*points[4].real));
  CHECK(points[5].real == 2.0);
  CHECK_FALSE(points[5].integer);  // a float stays one
  CHECK(points[6].integer == kLargest);
  CHECK_FALSE(points[6].real);
  CHECK(points[7].integer == kSmallest);
  CHECK(points[8].text == std::string("a\0b", 3));
  CHECK(points[9].text == "");
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
  CHECK(summaries[1].last.real == HUGE_VAL);
  CHECK(summaries[1].last.step == 4);
  CHECK(summaries[1].last.time == at(5));
  CHECK(summaries[2].last.text == "x");
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
