// One shell pattern as git's ignore files mean it (gitignore(5), "wildmatch"), compiled once and matched often.
// Immutable after construction: any thread. A malformed pattern ("[a", a lone final backslash) is not an error, it
// matches nothing.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

namespace runner::snapshot {

class Wildmatch {
 public:
  // kSeparator: '*', '?' and classes stop at '/', "**/", "/**/" and "/**" cross it. kOrdinary: '/' is a byte like
  // others.
  enum class Slash { kSeparator, kOrdinary };

  Wildmatch(std::string_view pattern, Slash slash, bool ignore_case);
  bool matches(std::string_view text) const;

 private:
  enum class Kind : std::uint8_t {
    kByte,         // this byte
    kAny,          // '?'
    kClass,        // "[…]"
    kWithin,       // '*': any bytes but '/'
    kAcross,       // "**" at an end, or any star where '/' is ordinary: any bytes
    kDirectories,  // "**/": nothing, or any bytes up to and including a '/'
  };
  struct Token {
    Kind kind;
    std::uint8_t byte = 0;
    std::uint16_t class_index = 0;
  };
  using Class = std::bitset<256>;

  bool parse_class(std::string_view pattern, std::size_t& at);  // `at`: on '[', then behind ']'
  bool accepts(const Token& token, std::uint8_t byte) const;

  bool separator_;
  bool ignore_case_;
  bool never_ = false;
  std::vector<Token> tokens_;
  std::vector<Class> classes_;
};

// ASCII only, whatever the locale: as git folds.
constexpr std::uint8_t fold(std::uint8_t byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte + ('a' - 'A')) : byte;
}
bool equal_bytes(std::string_view a, std::string_view b, bool ignore_case);

}  // namespace runner::snapshot
