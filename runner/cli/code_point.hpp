// Text as code points: what a terminal is shown of bytes that somebody else wrote.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace runner::cli {

// The first code point of UTF-8; length 0: the bytes at the front are not UTF-8.
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;
};
CodePoint decode(std::string_view text);  // not empty
// The bytes may be the beginning of a code point whose rest is still to come.
bool is_cut_short(std::string_view text);

bool is_harmful(char32_t c);       // controls, C1 controls, what changes the order of the text or ends a line
std::size_t width_of(char32_t c);  // columns: combining marks none, East Asian wide characters two
std::string escaped(char32_t c);   // "\x9b", "\u202e"
std::string escaped_byte(char c);  // "\xff"

}  // namespace runner::cli
