// Records of a metric journal for the store's tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "runner/core/metrics.hpp"

namespace store_test {

inline runner::MetricRecord point(const std::string& name, runner::MetricValue value,
                                  std::optional<std::int64_t> step = std::nullopt, std::int64_t time = 1) {
  return {.run = "", .name = name, .step = step, .time = at(time), .values = {std::move(value)}};
}

inline runner::MetricRecord list(const std::string& name, std::vector<runner::MetricValue> values) {
  return {.run = "", .name = name, .shape = runner::MetricShape::kList, .time = at(1), .values = std::move(values)};
}

inline runner::MetricRecord row(const std::string& name, std::vector<std::string> columns, const std::string& cells) {
  return {.run = "",
          .name = name,
          .shape = runner::MetricShape::kRow,
          .time = at(1),
          .columns = std::move(columns),
          .rows = {cells}};
}

inline runner::MetricRecord table(const std::string& name, std::vector<std::string> columns,
                                  std::vector<std::string> rows) {
  return {.run = "",
          .name = name,
          .shape = runner::MetricShape::kTable,
          .time = at(1),
          .columns = std::move(columns),
          .rows = std::move(rows)};
}

inline runner::MetricRecord of_run(const std::string& run, runner::MetricRecord record) {
  record.run = run;
  return record;
}

}  // namespace store_test
