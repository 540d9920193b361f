#include "runner/core/metrics.hpp"

#include <array>
#include <utility>

namespace runner {
namespace {

constexpr std::array<std::pair<MetricFileType, std::string_view>, 5> kFileTypes{{
    {MetricFileType::kImage, "image"},
    {MetricFileType::kConfusionMatrix, "confusion_matrix"},
    {MetricFileType::kAccuracyTable, "accuracy_table"},
    {MetricFileType::kResiduals, "residuals"},
    {MetricFileType::kPredictions, "predictions"},
}};

constexpr std::array<std::pair<MetricShape, std::string_view>, 4> kShapes{{
    {MetricShape::kValue, "value"},
    {MetricShape::kList, "list"},
    {MetricShape::kRow, "row"},
    {MetricShape::kTable, "table"},
}};

template <class Table, class Value>
std::string_view name_in(const Table& table, Value value) {
  for (const auto& [key, name] : table)
    if (key == value) return name;
  return "?";
}

template <class Value, std::size_t N>
std::optional<Value> value_in(const std::array<std::pair<Value, std::string_view>, N>& table, std::string_view text) {
  for (const auto& [key, name] : table)
    if (name == text) return key;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(MetricFileType type) { return name_in(kFileTypes, type); }
std::optional<MetricFileType> metric_file_type_from(std::string_view text) { return value_in(kFileTypes, text); }

std::string_view to_string(MetricShape shape) { return name_in(kShapes, shape); }
std::optional<MetricShape> metric_shape_from(std::string_view text) { return value_in(kShapes, text); }

bool has_rows(MetricShape shape) { return shape == MetricShape::kRow || shape == MetricShape::kTable; }

}  // namespace runner
