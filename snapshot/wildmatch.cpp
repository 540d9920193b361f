#include "snapshot/wildmatch.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace runner::snapshot {
namespace {

constexpr bool is_lower(int c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_upper(int c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_digit(int c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(int c) { return is_lower(c) || is_upper(c); }
constexpr bool is_alnum(int c) { return is_alpha(c) || is_digit(c); }
constexpr bool is_graph(int c) { return c > 0x20 && c < 0x7f; }

// The POSIX classes as git has them: ASCII, and [:space:] without vertical tab and form feed.
struct NamedClass {
  std::string_view name;
  bool (*contains)(int);
};
constexpr std::array kNamedClasses{
    NamedClass{"alnum", [](int c) { return is_alnum(c); }},
    NamedClass{"alpha", [](int c) { return is_alpha(c); }},
    NamedClass{"blank", [](int c) { return c == ' ' || c == '\t'; }},
    NamedClass{"cntrl", [](int c) { return c < 0x20 || c == 0x7f; }},
    NamedClass{"digit", [](int c) { return is_digit(c); }},
    NamedClass{"graph", [](int c) { return is_graph(c); }},
    NamedClass{"lower", [](int c) { return is_lower(c); }},
    NamedClass{"print", [](int c) { return is_graph(c) || c == ' '; }},
    NamedClass{"punct", [](int c) { return is_graph(c) && !is_alnum(c); }},
    NamedClass{"space", [](int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }},
    NamedClass{"upper", [](int c) { return is_upper(c); }},
    NamedClass{"xdigit", [](int c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }},
};

std::uint8_t byte_at(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }

}  // namespace

bool equal_bytes(std::string_view a, std::string_view b, bool ignore_case) {
  if (!ignore_case) return a == b;
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return fold(static_cast<std::uint8_t>(x)) == fold(static_cast<std::uint8_t>(y));
         });
}

Wildmatch::Wildmatch(std::string_view pattern, Slash slash, bool ignore_case)
    : separator_(slash == Slash::kSeparator), ignore_case_(ignore_case) {
  std::size_t at = 0;
  while (at < pattern.size() && !never_) {
    switch (pattern[at]) {
      case '\\':
        if (at + 1 == pattern.size()) {
          never_ = true;
          break;
        }
        // An escaped letter is not folded though the text is: with core.ignorecase git's "\A" matches nothing.
        tokens_.push_back({.kind = Kind::kByte, .byte = byte_at(pattern, at + 1)});
        at += 2;
        break;
      case '?':
        tokens_.push_back({.kind = Kind::kAny});
        ++at;
        break;
      case '[':
        never_ = !parse_class(pattern, at);
        break;
      case '*': {
        const std::size_t start = at;
        while (at < pattern.size() && pattern[at] == '*') ++at;
        const bool whole_component = (start == 0 || pattern[start - 1] == '/') &&
                                     (at == pattern.size() || pattern[at] == '/' || pattern.substr(at, 2) == "\\/");
        if (!separator_) {
          tokens_.push_back({.kind = Kind::kAcross});
        } else if (at - start < 2 || !whole_component) {
          tokens_.push_back({.kind = Kind::kWithin});
        } else if (at < pattern.size() && pattern[at] == '/') {
          tokens_.push_back({.kind = Kind::kDirectories});
          ++at;
        } else {
          tokens_.push_back({.kind = Kind::kAcross});
        }
        break;
      }
      default: {
        const std::uint8_t byte = byte_at(pattern, at++);
        tokens_.push_back({.kind = Kind::kByte, .byte = ignore_case_ ? fold(byte) : byte});
      }
    }
  }
}

// The bits are those of the text's bytes after folding; the pattern's own bytes are not folded, except that ranges and
// [:upper:] also take the lower-case letters whose upper case they hold. That is git's rule, odd as it is.
bool Wildmatch::parse_class(std::string_view pattern, std::size_t& at) {
  Class set;
  ++at;
  const bool negated = at < pattern.size() && (pattern[at] == '!' || pattern[at] == '^');
  if (negated) ++at;
  std::optional<std::uint8_t> previous;  // what a following '-' ranges from
  const auto add_if = [&set](auto&& contains) {
    for (int c = 0; c < 256; ++c)
      if (contains(c)) set.set(static_cast<std::size_t>(c));
  };
  // A ']' in the first place is a member.
  do {
    if (at >= pattern.size()) return false;
    const std::uint8_t byte = byte_at(pattern, at);
    if (byte == '\\') {
      if (++at >= pattern.size()) return false;
      previous = byte_at(pattern, at);
      set.set(*previous);
    } else if (byte == '-' && previous && at + 1 < pattern.size() && pattern[at + 1] != ']') {
      ++at;
      if (pattern[at] == '\\' && ++at >= pattern.size()) return false;
      const int low = *previous;
      const int high = byte_at(pattern, at);
      add_if([&](int c) {
        if (c >= low && c <= high) return true;
        const int upper = c - ('a' - 'A');
        return ignore_case_ && is_lower(c) && upper >= low && upper <= high;
      });
      previous.reset();
    } else if (byte == '[' && at + 1 < pattern.size() && pattern[at + 1] == ':') {
      const std::size_t name_at = at + 2;
      const std::size_t close = pattern.find(']', name_at);
      if (close == std::string_view::npos) return false;
      if (close == name_at || pattern[close - 1] != ':') {  // no ":]": an ordinary '['
        previous = byte;
        set.set(byte);
      } else {
        const std::string_view name = pattern.substr(name_at, close - 1 - name_at);
        const auto named = std::find_if(kNamedClasses.begin(), kNamedClasses.end(),
                                        [&](const NamedClass& candidate) { return candidate.name == name; });
        if (named == kNamedClasses.end()) return false;
        add_if(named->contains);
        if (ignore_case_ && name == "upper") add_if(is_lower);
        at = close;
        previous.reset();
      }
    } else {
      previous = byte;
      set.set(byte);
    }
    ++at;
  } while (at >= pattern.size() || pattern[at] != ']');
  ++at;
  if (negated) set.flip();
  if (separator_) set.reset('/');
  tokens_.push_back({.kind = Kind::kClass, .class_index = static_cast<std::uint16_t>(classes_.size())});
  classes_.push_back(set);
  return classes_.size() < UINT16_MAX;
}

bool Wildmatch::accepts(const Token& token, std::uint8_t byte) const {
  switch (token.kind) {
    case Kind::kByte:
      return token.byte == byte;
    case Kind::kAny:
      return !separator_ || byte != '/';
    case Kind::kClass:
      return classes_[token.class_index][byte];
    default:
      return false;
  }
}

// Backtracks to the last '*' and, when that may not grow any more, to the last "**": later stars can take over whatever
// an earlier one would have taken, because what stands between two "**" holds a fixed number of slashes. So no pattern
// costs more than |text|² · |pattern|, where naive recursion is exponential.
bool Wildmatch::matches(std::string_view text) const {
  if (never_) return false;
  struct Resume {
    std::size_t token = 0;  // 0: there was none (behind a star it is at least 1)
    std::size_t text = 0;
  };
  Resume within;
  Resume across;
  bool whole_directories = false;  // of `across`
  std::size_t token = 0;
  std::size_t at = 0;
  for (;;) {
    if (token == tokens_.size()) {
      if (at == text.size()) return true;
    } else if (const Kind kind = tokens_[token].kind; kind == Kind::kWithin) {
      within = {++token, at};
      continue;
    } else if (kind == Kind::kAcross || kind == Kind::kDirectories) {
      across = {++token, at};
      within = {};
      whole_directories = kind == Kind::kDirectories;
      continue;
    } else if (at < text.size()) {
      const std::uint8_t byte = byte_at(text, at);
      if (accepts(tokens_[token], ignore_case_ ? fold(byte) : byte)) {
        ++token;
        ++at;
        continue;
      }
    }
    if (within.token != 0 && within.text < text.size() && text[within.text] != '/') {
      ++within.text;
      token = within.token;
      at = within.text;
      continue;
    }
    within = {};
    if (across.token == 0) return false;
    const std::size_t next = whole_directories ? text.find('/', across.text) : across.text;
    if (next >= text.size()) return false;
    across.text = next + 1;
    token = across.token;
    at = across.text;
  }
}

}  // namespace runner::snapshot
