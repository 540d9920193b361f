#include "runner/api/exact_metric.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "runner/api/json_handle.hpp"
#include "runner/api/metric_document.hpp"

namespace runner::api {
namespace {

using nlohmann::ordered_json;
using Write = std::function<void(std::string_view)>;

// Calls `take` with each number and what is there.
template <class Page, class Take>
void for_each(std::int64_t count, const Page& page, const Take& take) {
  for (std::int64_t from = 0; from < count;) {
    const auto some = page(from);
    if (some.empty()) return;
    for (const auto& one : some) {
      if (from == count) return;
      take(from++, one);
    }
  }
}

void write_list(std::int64_t count, const MetricPages& pages, const Write& write) {
  write("[");
  for_each(count, pages.points, [&](std::int64_t number, const MetricPoint& point) {
    write((number == 0 ? "" : ",") + dump(logged_value(point.value)));
  });
  write("]");
}

// The cells of one column that there are, by the numbers of their rows.
class Column {
 public:
  void add(std::int64_t row, std::string text) {
    bytes_ += kOverhead + text.size();
    cells_.emplace_back(row, std::move(text));
  }
  std::size_t bytes() const { return bytes_; }
  void write_to(const Write& write, std::int64_t count) const {
    write("[");
    auto cell = cells_.begin();
    for (std::int64_t row = 0; row < count; ++row) {
      if (row > 0) write(",");
      if (cell != cells_.end() && cell->first == row)
        write((cell++)->second);
      else
        write("null");
    }
    write("]");
  }

 private:
  static constexpr std::size_t kOverhead = 48;
  std::vector<std::pair<std::int64_t, std::string>> cells_;
  std::size_t bytes_ = 0;
};

// From `first` on, as many columns as there is room for; at least one.
std::vector<Column> read_columns(const ExactMetric& metric, const MetricPages& pages,
                                 const std::unordered_map<std::string, std::size_t>& places, std::size_t first,
                                 std::size_t room) {
  std::vector<Column> columns(metric.columns.size() - first);
  std::size_t held = 0;
  for_each(metric.count, pages.rows, [&](std::int64_t number, const MetricRow& row) {
    const ordered_json cells = logged_cells(row);
    for (auto cell = cells.begin(); cell != cells.end(); ++cell) {
      const auto place = places.find(cell.key());
      if (place == places.end() || place->second < first || place->second >= first + columns.size()) continue;
      Column& column = columns[place->second - first];
      held -= column.bytes();
      column.add(number, dump(cell.value()));
      held += column.bytes();
    }
    for (; held > room && columns.size() > 1; columns.pop_back()) held -= columns.back().bytes();
  });
  return columns;
}

void write_table(const ExactMetric& metric, const MetricPages& pages, const Write& write, std::size_t room) {
  std::unordered_map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < metric.columns.size(); ++i) places.emplace(metric.columns[i], i);
  write("{");
  for (std::size_t first = 0; first < metric.columns.size();) {
    for (const Column& column : read_columns(metric, pages, places, first, room)) {
      write((first == 0 ? "" : ",") + json_text(metric.columns[first]) + ":");
      column.write_to(write, metric.count);
      ++first;
    }
  }
  write("}");
}

}  // namespace

void write_exact_metric(const ExactMetric& metric, const MetricPages& pages, const Write& write, std::size_t room) {
  if (metric.shape == MetricShape::kRow && metric.count == 1) {
    const auto rows = pages.rows(0);
    write("{\"row\":" + (rows.empty() ? "{}" : dump(logged_cells(rows.front()))));
  } else if (has_rows(metric.shape)) {
    write("{\"table\":");
    write_table(metric, pages, write, room);
  } else if (metric.shape == MetricShape::kValue && metric.count == 1) {
    const auto points = pages.points(0);
    write(points.empty() ? "{\"list\":[]" : "{\"value\":" + dump(logged_value(points.front().value)));
  } else {
    write("{\"list\":");
    write_list(metric.count, pages, write);
  }
  write("}");
}

}  // namespace runner::api
