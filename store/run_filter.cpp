#include "store/run_filter.hpp"

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

struct Parts {
  std::string_view name;
  std::optional<Compared> is;
};

Parts parts_of(std::string_view text, std::string_view what) {
  const std::size_t at = text.find_first_of("=!<>");
  Parts parts{text.substr(0, at), {}};
  if (parts.name.empty())
    throw Error(ErrorCode::kInvalid, std::string(what) + ": '" + std::string(text) + "' names none");
  if (at == std::string_view::npos) return parts;
  std::string_view rest = text.substr(at);
  constexpr std::pair<std::string_view, Comparison> kOperators[] = {
      {"!=", Comparison::kNotEqual}, {"<=", Comparison::kAtMost}, {">=", Comparison::kAtLeast},
      {"=", Comparison::kEqual},     {"<", Comparison::kLess},    {">", Comparison::kGreater}};
  for (const auto& [spelling, comparison] : kOperators) {
    if (!rest.starts_with(spelling)) continue;
    rest.remove_prefix(spelling.size());
    parts.is = Compared{comparison, std::string(rest)};
    return parts;
  }
  throw Error(ErrorCode::kInvalid, std::string(what) + ": '" + std::string(text) + "' has no operator that is known",
              "=, !=, <, <=, > or >=");
}

}  // namespace

ParameterFilter parameter_filter(std::string_view text) {
  Parts parts = parts_of(text, "param");
  return {.key = std::string(parts.name), .is = std::move(parts.is)};
}

MetricFilter metric_filter(std::string_view text) {
  Parts parts = parts_of(text, "metric");
  MetricFilter filter{.name = std::string(parts.name), .is = std::move(parts.is)};
  constexpr std::pair<std::string_view, MetricFilter::Field> kFields[] = {{".last", MetricFilter::Field::kLast},
                                                                          {".min", MetricFilter::Field::kMinimum},
                                                                          {".max", MetricFilter::Field::kMaximum}};
  for (const auto& [suffix, field] : kFields) {
    if (!filter.name.ends_with(suffix) || filter.name.size() == suffix.size()) continue;
    filter.name.resize(filter.name.size() - suffix.size());
    filter.field = field;
    break;
  }
  return filter;
}

}  // namespace runner::store
