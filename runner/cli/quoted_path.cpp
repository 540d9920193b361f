#include "runner/cli/quoted_path.hpp"

#include <algorithm>

namespace runner::cli {
namespace {

constexpr std::string_view kEscaped = "\a\b\t\n\v\f\r\"\\";
constexpr std::string_view kLetters = "abtnvfr\"\\";

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

}  // namespace

std::string quoted_path(std::string_view path) {
  if (std::all_of(path.begin(), path.end(), is_plain)) return std::string(path);
  std::string quoted = "\"";
  for (const char c : path) {
    if (is_plain(c)) {
      quoted += c;
      continue;
    }
    quoted += '\\';
    const std::size_t at = kEscaped.find(c);
    if (at != std::string_view::npos) {
      quoted += kLetters[at];
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    quoted += static_cast<char>('0' + (byte >> 6));
    quoted += static_cast<char>('0' + (byte >> 3 & 7));
    quoted += static_cast<char>('0' + (byte & 7));
  }
  return quoted += '"';
}

}  // namespace runner::cli
