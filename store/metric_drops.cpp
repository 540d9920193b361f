#include "store/metric_drops.hpp"

#include "runner/core/metrics.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kShownName = 80;  // bytes: a name may be long

std::string shown(const std::string& name) {
  if (name.size() <= kShownName) return name;
  std::size_t end = kShownName;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // not within a character
  return name.substr(0, end) + "…";
}

}  // namespace

MetricDrops& MetricDrops::operator+=(const MetricDrops& more) {
  other_shape += more.other_shape;
  foreign += more.foreign;
  ended += more.ended;
  too_wide += more.too_wide;
  if (example.empty()) example = more.example;
  return *this;
}

std::string to_text(const MetricDrops& drops) {
  std::string text;
  const auto add = [&text](std::int64_t count, const std::string& what) {
    if (count == 0) return;
    text += (text.empty() ? "metrics left out: " : "; ") + std::to_string(count) +
            (count == 1 ? " record " : " records ") + what;
  };
  add(drops.other_shape, "(of '" + shown(drops.example) +
                             "' first) of another shape: a metric has either values or rows, what was logged first");
  add(drops.foreign, "of runs that are not below this one");
  add(drops.ended, "of runs that had ended");
  add(drops.too_wide, "with more columns than the " + std::to_string(kMaxMetricColumns) + " that a metric may have");
  return text;
}

}  // namespace runner::store
