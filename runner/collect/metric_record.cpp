// A reader of events instead of a tree of values: a journal is most of what a script can make us read, and a tree costs
// three times the parsing. The grammar is in metric_journal.hpp.
#include "runner/collect/metric_record.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runner/collect/plain_point.hpp"

namespace runner::collect {
namespace {

using nlohmann::json;

using Cell = std::optional<MetricValue>;  // nothing: null

enum class Member { kMetric, kList, kRow, kTable, kArtifact, kValue, kValues, kTime, kStep, kRun, kBytes, kForeign };

Member member_of(std::string_view key) {
  constexpr std::pair<std::string_view, Member> kMembers[] = {
      {"metric", Member::kMetric}, {"value", Member::kValue},       {"time", Member::kTime},  {"step", Member::kStep},
      {"run", Member::kRun},       {"list", Member::kList},         {"row", Member::kRow},    {"table", Member::kTable},
      {"values", Member::kValues}, {"artifact", Member::kArtifact}, {"bytes", Member::kBytes}};
  for (const auto& [name, member] : kMembers)
    if (name == key) return member;
  return Member::kForeign;
}

struct Column {
  std::string name;
  std::vector<Cell> cells;
  bool is_list = false;
};

// {"float": "nan"}: what JSON numbers cannot say.
std::optional<double> non_finite(std::string_view name) {
  if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (name == "inf") return std::numeric_limits<double>::infinity();
  if (name == "-inf") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

std::string quoted(const std::string& text) { return json(text).dump(); }

void append(std::string& out, const Cell& cell) {
  if (!cell)
    out += "null";
  else if (const auto* integer = std::get_if<std::int64_t>(&*cell))
    out += std::to_string(*integer);
  else if (const auto* text = std::get_if<std::string>(&*cell))
    out += quoted(*text);
  else if (const auto* file = std::get_if<MetricFile>(&*cell))
    out += R"({"artifact":)" + quoted(file->artifact) + R"(,"type":")" + std::string(to_string(file->type)) + "\"}";
  else if (const double real = std::get<double>(*cell); std::isnan(real))
    out += R"({"float":"nan"})";
  else if (std::isinf(real))
    out += real > 0 ? R"({"float":"inf"})" : R"({"float":"-inf"})";
  else
    out += json(real).dump();
}

class Reader final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return scalar({}); }
  bool boolean(bool) override {
    return foreign_ > 0 || (!where_.empty() && in() == In::kRecord && member_ == Member::kForeign);
  }
  bool number_integer(number_integer_t value) override { return scalar(MetricValue(std::int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
      return scalar(MetricValue(static_cast<double>(value)));
    return scalar(MetricValue(static_cast<std::int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return scalar(MetricValue(double{value})); }
  bool string(string_t& value) override {
    // Most of what is logged is a number: a text is moved only where it is kept.
    return foreign_ > 0 || scalar(MetricValue(std::move(value)));
  }
  bool binary(binary_t&) override { return false; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  bool start_object(std::size_t) override {
    if (where_.empty()) return enter(In::kRecord);
    if (skips()) return true;
    switch (in()) {
      case In::kRecord:
        if (member_ == Member::kValues) return enter(In::kColumns);
        return member_ == Member::kValue && enter(In::kCell);
      case In::kCell:
        return false;
      default:
        return enter(In::kCell);
    }
  }
  bool start_array(std::size_t) override {
    if (where_.empty()) return false;
    if (skips()) return true;
    if (in() == In::kRecord) return member_ == Member::kValues && enter(In::kList);
    if (in() != In::kColumns) return false;
    columns_.back().is_list = true;
    return enter(In::kColumn);
  }
  bool key(string_t& key) override {
    if (foreign_ > 0) return true;
    switch (in()) {
      case In::kRecord:
        member_ = member_of(key);
        return true;
      case In::kColumns:
        if (columns_.size() == kMaxMetricColumns || key.size() > kMaxMetricName) return false;
        columns_.push_back({.name = std::move(key), .cells = {}});
        return true;
      default:
        cell_key_ = std::move(key);
        return true;
    }
  }
  bool end_object() override {
    if (foreign_ > 0) return leave_foreign();
    const bool was_cell = in() == In::kCell;
    where_.pop_back();
    return !was_cell || end_cell();
  }
  bool end_array() override {
    if (foreign_ > 0) return leave_foreign();
    where_.pop_back();
    return true;
  }

  std::optional<JournalRecord> record() {
    if (!what_ || !time_) return std::nullopt;
    if (*what_ == Member::kArtifact) {
      if (!bytes_ || !is_artifact_name(name_)) return std::nullopt;
      return JournalArtifact{.run = std::move(run_), .name = std::move(name_), .bytes = *bytes_};
    }
    MetricRecord record{.run = std::move(run_), .name = std::move(name_), .step = step_, .time = *time_};
    switch (*what_) {
      case Member::kMetric:
        if (!value_) return std::nullopt;
        record.values.push_back(std::move(*value_));
        break;
      case Member::kList:
        if (values_ != In::kList) return std::nullopt;
        record.shape = MetricShape::kList;
        record.values = std::move(list_);
        break;
      default:
        record.shape = *what_ == Member::kRow ? MetricShape::kRow : MetricShape::kTable;
        if (!set_rows(record)) return std::nullopt;
    }
    return record;
  }

 private:
  enum class In { kRecord, kCell, kList, kColumns, kColumn };  // kRecord also: no `values`

  In in() const { return where_.back(); }

  bool enter(In where) {
    if (where == In::kList || where == In::kColumns) {  // said twice, the last counts
      values_ = where;
      list_.clear();
      columns_.clear();
    }
    if (where == In::kCell) {
      cell_key_.clear();
      float_.reset();
      file_.reset();
      type_.reset();
    }
    where_.push_back(where);
    return true;
  }

  // A value of a member that is not ours is passed over, however deep it is.
  bool skips() {
    if (foreign_ == 0 && (in() != In::kRecord || member_ != Member::kForeign)) return false;
    ++foreign_;
    return true;
  }
  bool leave_foreign() {
    --foreign_;
    return true;
  }

  bool scalar(Cell cell) {
    if (foreign_ > 0) return true;
    if (where_.empty()) return false;
    switch (in()) {
      case In::kRecord:
        return set_member(std::move(cell));
      case In::kCell:
        return set_cell_member(cell);
      case In::kList:
        if (!cell) return false;
        list_.push_back(std::move(*cell));
        return true;
      default:
        columns_.back().cells.push_back(std::move(cell));
        return true;
    }
  }

  bool set_member(Cell cell) {
    auto* text = cell ? std::get_if<std::string>(&*cell) : nullptr;
    const auto* integer = cell ? std::get_if<std::int64_t>(&*cell) : nullptr;
    switch (member_) {
      case Member::kMetric:
      case Member::kList:
      case Member::kRow:
      case Member::kTable:
      case Member::kArtifact:
        if (text == nullptr || text->empty() || text->size() > kMaxMetricName || what_.value_or(member_) != member_)
          return false;
        what_ = member_;
        name_ = std::move(*text);
        return true;
      case Member::kValue:
        if (!cell) return false;
        value_ = std::move(*cell);
        return true;
      case Member::kTime:
        if (integer != nullptr) time_ = UtcTime{std::chrono::microseconds{*integer}};
        return integer != nullptr;
      case Member::kStep:
        step_ = integer != nullptr ? std::optional(*integer) : std::nullopt;
        return integer != nullptr || !cell;
      case Member::kBytes:
        if (integer != nullptr) bytes_ = *integer;
        return integer != nullptr && *integer >= 0;
      case Member::kRun:
        if (text == nullptr || text->size() > kMaxMetricName) return false;
        run_ = std::move(*text);
        return true;
      case Member::kValues:
        return false;
      case Member::kForeign:
        return true;
    }
    return false;
  }

  bool set_cell_member(Cell& cell) {
    auto* text = cell ? std::get_if<std::string>(&*cell) : nullptr;
    if (text == nullptr) return false;
    if (cell_key_ == "float") return (float_ = non_finite(*text)).has_value();
    if (cell_key_ == "type") return (type_ = metric_file_type_from(*text)).has_value();
    if (cell_key_ != "artifact" || !is_artifact_name(*text)) return false;
    file_ = std::move(*text);
    return true;
  }

  bool end_cell() {
    if (float_ && !file_ && !type_) return scalar(MetricValue(*float_));
    if (float_ || !file_ || !type_) return false;
    return scalar(MetricValue(MetricFile{.artifact = std::move(*file_), .type = *type_}));
  }

  bool set_rows(MetricRecord& record) {
    if (values_ != In::kColumns || columns_.empty()) return false;
    std::unordered_set<std::string_view> names;
    std::size_t rows = record.shape == MetricShape::kRow ? 1 : 0;
    for (const Column& column : columns_) {
      if (column.is_list != (record.shape == MetricShape::kTable) || !names.insert(column.name).second) return false;
      rows = std::max(rows, column.cells.size());
    }
    // A column that is shorter than others is absent from its last rows: written out, a few long and many short ones
    // would take far more than the record.
    record.rows.resize(rows);
    for (const Column& column : columns_) {
      const std::string name = quoted(column.name);
      for (std::size_t i = 0; i < column.cells.size(); ++i) {
        std::string& row = record.rows[i];
        row += (row.empty() ? "{" : ",") + name + ":";
        append(row, column.cells[i]);
      }
    }
    for (std::string& row : record.rows) row += '}';
    for (Column& column : columns_) record.columns.push_back(std::move(column.name));
    return true;
  }

  std::vector<In> where_;
  std::int64_t foreign_ = 0;  // how deep in a value that is passed over
  Member member_ = Member::kForeign;
  std::string cell_key_;
  std::optional<double> float_;
  std::optional<std::string> file_;
  std::optional<MetricFileType> type_;

  std::optional<Member> what_;
  std::string name_, run_;
  std::optional<UtcTime> time_;
  std::optional<std::int64_t> step_, bytes_;
  std::optional<MetricValue> value_;
  In values_ = In::kRecord;
  std::vector<MetricValue> list_;
  std::vector<Column> columns_;
};

}  // namespace

bool is_artifact_name(std::string_view name) {
  if (name.size() > kMaxMetricName || name.find('\0') != std::string_view::npos) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::optional<JournalRecord> parse_record(std::string_view text) {
  if (auto point = parse_plain_point(text)) return JournalRecord(std::move(*point));
  return parse_any_record(text);
}

std::optional<JournalRecord> parse_any_record(std::string_view text) {
  Reader reader;
  if (!json::sax_parse(text.begin(), text.end(), &reader)) return std::nullopt;
  return reader.record();
}

}  // namespace runner::collect
