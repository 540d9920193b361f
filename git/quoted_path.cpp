#include "git/quoted_path.hpp"

#include <algorithm>

namespace runner::git {
namespace {

bool needs_escape(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f || c == '"' || c == '\\';
}

}  // namespace

std::string quoted_path(std::string_view path, std::string_view prefix) {
  std::string text(prefix);
  if (std::none_of(path.begin(), path.end(), needs_escape)) return text.append(path);
  text.insert(text.begin(), '"');
  for (const char c : path) {
    constexpr std::string_view kNamed = "\a\b\t\n\v\f\r\"\\";
    const auto byte = static_cast<unsigned char>(c);
    if (!needs_escape(c)) {
      text.push_back(c);
    } else if (const std::size_t at = kNamed.find(c); at != std::string_view::npos) {
      text.append({'\\', "abtnvfr\"\\"[at]});
    } else {
      for (const int shift : {6, 3, 0}) {
        if (shift == 6) text.push_back('\\');
        text.push_back(static_cast<char>('0' + (byte >> shift & 7)));
      }
    }
  }
  return text + "\"";
}

}  // namespace runner::git
