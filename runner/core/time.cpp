#include "runner/core/time.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "runner/core/error.hpp"

namespace runner {
namespace {

// A decimal number and the unit behind it; nothing when the text is not of that form.
struct Quantity {
  double number;
  std::string unit;
};

std::optional<Quantity> split_quantity(std::string_view text) {
  double number = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  // from_chars accepts "inf", "nan", signs and exponents; only digits and a point are meant here.
  const auto number_end = text.find_first_not_of("0123456789.");
  const std::string_view digits = text.substr(0, number_end);
  if (digits.empty()) return std::nullopt;
  const auto [rest, error] = std::from_chars(begin, begin + digits.size(), number);
  if (error != std::errc{} || rest != begin + digits.size()) return std::nullopt;
  std::string unit(rest, end);
  for (char& c : unit)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return Quantity{number, unit};
}

}  // namespace

UtcTime utc_now() { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }

std::string to_iso8601(UtcTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto fraction = (time - seconds).count();
  const std::time_t whole = seconds.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&whole, &parts);
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(fraction));
  return text.data();
}

std::optional<UtcTime> utc_from_iso8601(std::string_view text) {
  std::tm parts{};
  int consumed = 0;
  const std::string copy(text);
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                  &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &consumed) != 6)
    return std::nullopt;
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  std::int64_t micros = 0;
  std::string_view rest = std::string_view(copy).substr(static_cast<std::size_t>(consumed));
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    std::int64_t scale = 100000;
    while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
      micros += (rest.front() - '0') * scale;
      scale /= 10;
      rest.remove_prefix(1);
    }
  }
  if (rest == "Z") rest = {};
  if (!rest.empty()) return std::nullopt;
  return UtcTime{std::chrono::seconds{timegm(&parts)} + std::chrono::microseconds{micros}};
}

std::chrono::milliseconds parse_duration(std::string_view text, std::string_view what) {
  const auto quantity = split_quantity(text);
  double factor = 0;
  if (quantity) {
    const std::string& unit = quantity->unit;
    if (unit == "ms") factor = 1;
    if (unit.empty() || unit == "s") factor = 1e3;
    if (unit == "m") factor = 60e3;
    if (unit == "h") factor = 3600e3;
    if (unit == "d") factor = 86400e3;
  }
  constexpr double kTenYears = 10 * 366 * 86400e3;  // ms; far from overflow, beyond any real limit
  if (factor == 0 || quantity->number * factor > kTenYears)
    throw Error(ErrorCode::kInvalid, std::string(what) + ": '" + std::string(text) + "' is not a duration",
                "write a number with s, m, h or d: 90, 90s, 30m, 2h, 1d");
  return std::chrono::milliseconds{std::llround(quantity->number * factor)};
}

std::string format_duration(std::chrono::milliseconds duration) {
  std::array<char, 48> text{};
  const auto ms = duration.count();
  const auto s = ms / 1000;
  if (ms < 1000)
    std::snprintf(text.data(), text.size(), "%lldms", static_cast<long long>(ms));
  else if (s < 60)
    std::snprintf(text.data(), text.size(), "%.1fs", static_cast<double>(ms) / 1e3);
  else if (s < 3600)
    std::snprintf(text.data(), text.size(), "%lldm %02llds", static_cast<long long>(s / 60),
                  static_cast<long long>(s % 60));
  else if (s < 86400)
    std::snprintf(text.data(), text.size(), "%lldh %02lldm", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60));
  else
    std::snprintf(text.data(), text.size(), "%lldd %02lldh", static_cast<long long>(s / 86400),
                  static_cast<long long>(s / 3600 % 24));
  return text.data();
}

std::int64_t parse_size(std::string_view text, std::string_view what) {
  const auto quantity = split_quantity(text);
  double factor = 0;
  if (quantity) {
    const std::string& unit = quantity->unit;
    constexpr std::string_view kPrefixes = "kmgt";
    if (unit.empty() || unit == "b") factor = 1;
    for (std::size_t i = 0; i < kPrefixes.size(); ++i) {
      const std::string prefix(1, kPrefixes[i]);
      if (unit == prefix || unit == prefix + "b" || unit == prefix + "ib")
        factor = std::pow(1024.0, static_cast<double>(i + 1));
    }
  }
  if (factor == 0 || quantity->number * factor > 9e18)
    throw Error(ErrorCode::kInvalid, std::string(what) + ": '" + std::string(text) + "' is not a size",
                "write bytes or a number with k, m, g or t: 512m, 2g");
  return std::llround(quantity->number * factor);
}

std::string format_size(std::int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

}  // namespace runner
