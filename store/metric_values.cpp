#include "store/metric_values.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

using Json = nlohmann::json;

Error damaged(const char* what) {
  return Error(ErrorCode::kInternal, std::string("runner.db: ") + what + " of a metric cannot be read",
               "`runner fsck` says what is damaged");
}

// {"artifact": NAME, "type": "image"}
std::string to_text(const MetricFile& file) {
  return Json{{"artifact", file.artifact}, {"type", to_string(file.type)}}.dump(-1, ' ', false,
                                                                                Json::error_handler_t::replace);
}

MetricFile file_from(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("artifact") || !json.contains("type") || !json["artifact"].is_string() ||
      !json["type"].is_string())
    throw damaged("a file");
  const auto type = metric_file_type_from(json["type"].get_ref<const std::string&>());
  if (!type) throw damaged("a file");
  return {.artifact = json["artifact"].get<std::string>(), .type = *type};
}

}  // namespace

void bind_value(Query& query, int index, const MetricValue& value) {
  if (const auto* file = std::get_if<MetricFile>(&value)) {
    const std::string text = to_text(*file);
    query.bind_copy(index, std::as_bytes(std::span(text)));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    query.bind(index, *text);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    query.bind(index, *integer);
  } else {
    query.bind(index, std::get<double>(value));
  }
}

void bind_last(Query& query, int index, const MetricValue& value) {
  constexpr std::size_t kLongest = 256;
  const auto* text = std::get_if<std::string>(&value);
  if (std::holds_alternative<MetricFile>(value) || (text != nullptr && text->size() > kLongest))
    query.bind(index, std::nullopt);
  else
    bind_value(query, index, value);
}

MetricValue value_at(const Query& query, int column) {
  switch (query.type(column)) {
    case ColumnType::kInteger:
      return query.integer(column);
    case ColumnType::kReal:
      return query.real(column);
    case ColumnType::kText:
      return query.string(column);
    case ColumnType::kBlob: {
      const auto bytes = query.blob(column);
      return file_from({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

std::string to_columns(const std::vector<std::string>& columns) {
  return Json(columns).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> columns_from(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_array()) throw damaged("the columns");
  std::vector<std::string> columns;
  for (const Json& column : json) {
    if (!column.is_string()) throw damaged("the columns");
    columns.push_back(column.get<std::string>());
  }
  return columns;
}

}  // namespace runner::store
