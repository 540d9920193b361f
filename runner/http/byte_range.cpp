#include "runner/http/byte_range.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace runner::http {
namespace {

constexpr RangeAnswer kIgnored{.whole = true, .part = {}};

// Digits only; a number that is too large is as good as the largest.
std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} ? value : std::numeric_limits<std::int64_t>::max();
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

RangeAnswer resolve_range(std::string_view header, std::int64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return kIgnored;
  const std::string_view range = trimmed(header.substr(kUnit.size()));
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) return kIgnored;
  const std::string_view from = trimmed(range.substr(0, dash));
  const std::string_view to = trimmed(range.substr(dash + 1));
  if (from.empty()) {
    const auto last = number(to);
    if (!last) return kIgnored;
    if (*last == 0 || size == 0) return {};
    return {.whole = false, .part = ByteRange{std::max<std::int64_t>(0, size - *last), size}};
  }
  const auto begin = number(from);
  const auto last = to.empty() ? std::optional(std::numeric_limits<std::int64_t>::max()) : number(to);
  if (!begin || !last || *last < *begin) return kIgnored;
  if (*begin >= size) return {};
  return {.whole = false, .part = ByteRange{*begin, std::min(*last, size - 1) + 1}};
}

}  // namespace runner::http
