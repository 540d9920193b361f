#include "runner/collect/plain_point.hpp"

#include <charconv>
#include <cmath>
#include <string>

namespace runner::collect {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_blank() {
    if (rest_.starts_with(' ')) rest_.remove_prefix(1);
  }
  // Between quotes, of printable ASCII without escapes.
  std::optional<std::string_view> word() {
    if (!take('"')) return std::nullopt;
    std::size_t length = 0;
    for (; length < rest_.size() && rest_[length] != '"'; ++length)
      if (const char c = rest_[length]; c < ' ' || c > '~' || c == '\\') return std::nullopt;
    if (length == rest_.size()) return std::nullopt;
    const std::string_view word = rest_.substr(0, length);
    rest_.remove_prefix(length + 1);
    return word;
  }
  // A number as JSON has it.
  struct Digits {
    std::string_view text;
    bool whole = true;
  };
  std::optional<Digits> number() {
    std::size_t at = 0;
    const auto digits = [&] {
      const std::size_t first = at;
      while (at < rest_.size() && is_digit(rest_[at])) ++at;
      return at - first;
    };
    const auto is = [&](char c) { return at < rest_.size() && rest_[at] == c; };
    Digits number;
    if (is('-')) ++at;
    const std::size_t begin = at;
    const std::size_t count = digits();
    if (count == 0 || (count > 1 && rest_[begin] == '0')) return std::nullopt;
    if (is('.')) {
      ++at;
      number.whole = false;
      if (digits() == 0) return std::nullopt;
    }
    if (is('e') || is('E')) {
      ++at;
      number.whole = false;
      if (is('+') || is('-')) ++at;
      if (digits() == 0) return std::nullopt;
    }
    number.text = rest_.substr(0, at);
    rest_.remove_prefix(at);
    return number;
  }

 private:
  std::string_view rest_;
};

template <class Number>
std::optional<Number> read(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::int64_t> read_integer(const std::optional<Cursor::Digits>& digits) {
  return digits && digits->whole ? read<std::int64_t>(digits->text) : std::nullopt;
}

std::optional<MetricValue> read_value(const std::optional<Cursor::Digits>& digits) {
  if (!digits) return std::nullopt;
  if (digits->whole) {
    if (const auto integer = read<std::int64_t>(digits->text)) return MetricValue(*integer);
    return std::nullopt;  // one that fits no integer
  }
  if (const auto real = read<double>(digits->text)) return MetricValue(*real);
  return std::nullopt;
}

}  // namespace

std::optional<MetricRecord> parse_plain_point(std::string_view text) {
  Cursor cursor(text);
  std::optional<std::string_view> name;
  std::optional<MetricValue> value;
  std::optional<std::int64_t> step, time;
  if (!cursor.take('{')) return std::nullopt;
  do {
    cursor.skip_blank();
    const auto member = cursor.word();
    if (!member || !cursor.take(':')) return std::nullopt;
    cursor.skip_blank();
    bool read = false;
    if (*member == "metric")
      read = !name && (name = cursor.word()).has_value();
    else if (*member == "value")
      read = !value && (value = read_value(cursor.number())).has_value();
    else if (*member == "step")
      read = !step && (step = read_integer(cursor.number())).has_value();
    else if (*member == "time")
      read = !time && (time = read_integer(cursor.number())).has_value();
    if (!read) return std::nullopt;
  } while (cursor.take(','));
  if (!cursor.take('}') || !cursor.at_end()) return std::nullopt;
  if (!name || name->empty() || name->size() > kMaxMetricName || !value || !time) return std::nullopt;
  MetricRecord record{
      .run = "", .name = std::string(*name), .step = step, .time = UtcTime{std::chrono::microseconds{*time}}};
  record.values.push_back(std::move(*value));
  return record;
}

}  // namespace runner::collect
