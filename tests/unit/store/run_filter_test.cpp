#include "store/run_filter.hpp"

#include "fixture.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

TEST_CASE("A condition is a name, an operator and a value") {
  CHECK(parameter_filter("lr") == ParameterFilter{.key = "lr"});
  CHECK(parameter_filter("lr=0.1") == ParameterFilter{.key = "lr", .is = Compared{Comparison::kEqual, "0.1"}});
  CHECK(parameter_filter("lr=") == ParameterFilter{.key = "lr", .is = Compared{Comparison::kEqual, ""}});
  CHECK(parameter_filter("a!=b=c") == ParameterFilter{.key = "a", .is = Compared{Comparison::kNotEqual, "b=c"}});
  CHECK(parameter_filter("a<1").is->comparison == Comparison::kLess);
  CHECK(parameter_filter("a<=1").is->comparison == Comparison::kAtMost);
  CHECK(parameter_filter("a>1").is->comparison == Comparison::kGreater);
  CHECK(parameter_filter("a>=1").is->comparison == Comparison::kAtLeast);
  for (const char* wrong : {"", "=1", "<1", "a!1"}) {
    INFO(wrong);
    CHECK(error_of([&] { parameter_filter(wrong); }).code() == ErrorCode::kInvalid);
  }
}

TEST_CASE("A metric's condition may name its least, greatest or last value") {
  using Field = MetricFilter::Field;
  CHECK(metric_filter("loss") == MetricFilter{.name = "loss"});
  CHECK(metric_filter("loss.min<0.1") ==
        MetricFilter{.name = "loss", .field = Field::kMinimum, .is = Compared{Comparison::kLess, "0.1"}});
  CHECK(metric_filter("loss.max").field == Field::kMaximum);
  CHECK(metric_filter("a.min.last") == MetricFilter{.name = "a.min", .field = Field::kLast});
  CHECK(metric_filter(".min") == MetricFilter{.name = ".min"});
  CHECK(metric_filter("val/loss: x>=1").name == "val/loss: x");
}
