#include "envs/ignore_pattern.hpp"

#include <algorithm>
#include <cctype>
#include <map>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

using Ranges = std::vector<std::pair<char32_t, char32_t>>;

constexpr char32_t kReplacement = 0xFFFD;  // what Go reads where there is no UTF-8
constexpr char32_t kLast = 0x10FFFF;

// The next code point, taken off the front.
char32_t take(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t size = first < 0x80                    ? 1
                           : first >= 0xC2 && first < 0xE0 ? 2
                           : first >= 0xE0 && first < 0xF0 ? 3
                           : first >= 0xF0 && first < 0xF5 ? 4
                                                           : 0;
  char32_t c = size == 1 ? first : size == 2 ? first & 0x1FU : size == 3 ? first & 0x0FU : first & 0x07U;
  bool good = size != 0 && size <= text.size();
  for (std::size_t i = 1; good && i < size; ++i) {
    good = (byte(i) & 0xC0U) == 0x80;
    c = c << 6 | (byte(i) & 0x3FU);
  }
  good =
      good && !(size == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) && !(size == 4 && (c < 0x10000 || c > kLast));
  text.remove_prefix(good ? size : 1);
  return good ? c : kReplacement;
}

Error bad_pattern(const std::string& pattern) { return Error(ErrorCode::kInvalid, "bad pattern \"" + pattern + "\""); }

// Whether Go's filepath.Match(pattern, ".") returns, and no error: patternmatcher asks it for nothing else. It looks at
// the pattern's syntax only as far as "." matches, so what is wrong behind that is left to the expression.
class SyntaxCheck {
 public:
  explicit SyntaxCheck(std::string_view pattern) : pattern_(pattern) {}

  bool passes() {
    std::string_view name = ".";
    while (!pattern_.empty()) {
      const bool star = pattern_[0] == '*';
      const std::string_view chunk = take_chunk();
      if (star && chunk.empty()) return true;
      const auto goes_on = [&](std::string_view from) {
        std::string_view rest = from;
        if (!match(chunk, rest) || (pattern_.empty() && !rest.empty())) return false;
        name = rest;
        return true;
      };
      if (goes_on(name)) continue;
      if (bad_) return false;
      if (star && !name.empty() && goes_on(name.substr(1))) continue;
      return !bad_;
    }
    return true;
  }

 private:
  // Up to the next star outside of brackets; stars before it are taken, too.
  std::string_view take_chunk() {
    pattern_.remove_prefix(std::min(pattern_.find_first_not_of('*'), pattern_.size()));
    bool in_class = false;
    std::size_t end = 0;
    for (; end < pattern_.size() && (pattern_[end] != '*' || in_class); ++end) {
      if (pattern_[end] == '[') in_class = true;
      if (pattern_[end] == ']') in_class = false;
      if (pattern_[end] == '\\' && end + 1 < pattern_.size()) ++end;
    }
    const std::string_view chunk = pattern_.substr(0, end);
    pattern_.remove_prefix(end);
    return chunk;
  }

  // Whether the name begins with the chunk, which is then taken off it.
  bool match(std::string_view chunk, std::string_view& name) {
    bool failed = false;
    while (!chunk.empty()) {
      failed = failed || name.empty();
      const char32_t c = failed ? 0 : static_cast<unsigned char>(name[0]);
      if (!failed) name.remove_prefix(1);
      const char first = chunk[0];
      chunk.remove_prefix(1);
      if (first == '[') {
        failed = !match_class(chunk, c) || failed;
        if (bad_) return false;
      } else if (first != '?') {
        if (first == '\\' && chunk.empty()) return !(bad_ = true);
        const char literal = first == '\\' ? chunk[0] : first;
        if (first == '\\') chunk.remove_prefix(1);
        failed = failed || c != static_cast<unsigned char>(literal);
      }
    }
    return !failed;
  }

  bool match_class(std::string_view& chunk, char32_t c) {
    const bool negated = chunk.starts_with('^');
    if (negated) chunk.remove_prefix(1);
    bool within = false;
    for (bool any = false; !any || !chunk.starts_with(']'); any = true) {
      const char32_t low = class_char(chunk);
      char32_t high = low;
      if (!bad_ && chunk[0] == '-') {
        chunk.remove_prefix(1);
        high = class_char(chunk);
      }
      if (bad_) return false;
      within = within || (low <= c && c <= high);
    }
    chunk.remove_prefix(1);
    return within != negated;
  }

  char32_t class_char(std::string_view& chunk) {
    bad_ = chunk.empty() || chunk[0] == '-' || chunk[0] == ']';
    if (!bad_ && chunk[0] == '\\') chunk.remove_prefix(1);
    if (bad_ || chunk.empty()) return (bad_ = true);
    const std::size_t before = chunk.size();
    const char32_t c = take(chunk);
    bad_ = (c == kReplacement && before - chunk.size() == 1) || chunk.empty();
    return c;
  }

  std::string_view pattern_;
  bool bad_ = false;
};

const std::map<char, Ranges>& perl_classes() {
  static const std::map<char, Ranges> classes{{'d', {{'0', '9'}}},
                                              {'s', {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}},
                                              {'w', {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}}};
  return classes;
}

const std::map<std::string_view, Ranges>& posix_classes() {
  static const std::map<std::string_view, Ranges> classes{{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
                                                          {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
                                                          {"ascii", {{0, 0x7F}}},
                                                          {"blank", {{'\t', '\t'}, {' ', ' '}}},
                                                          {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}},
                                                          {"digit", {{'0', '9'}}},
                                                          {"graph", {{'!', '~'}}},
                                                          {"lower", {{'a', 'z'}}},
                                                          {"print", {{' ', '~'}}},
                                                          {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
                                                          {"space", {{'\t', '\r'}, {' ', ' '}}},
                                                          {"upper", {{'A', 'Z'}}},
                                                          {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
                                                          {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
  return classes;
}

Ranges complement(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges rest;
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {
    if (low > next) rest.emplace_back(next, low - 1);
    next = std::max(next, static_cast<char32_t>(high + 1));
  }
  if (next <= kLast) rest.emplace_back(next, kLast);
  return rest;
}

// What follows a backslash, which has been taken. Nothing if Go knows no such escape, or one that no file name needs.
bool take_escape(std::string_view& rest, Ranges& ranges) {
  static const std::map<char, char32_t> controls{{'a', 7},    {'f', '\f'}, {'n', '\n'},
                                                 {'r', '\r'}, {'t', '\t'}, {'v', 11}};
  if (rest.empty()) return false;
  const char c = rest[0];
  if (const auto named = perl_classes().find(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      named != perl_classes().end()) {
    rest.remove_prefix(1);
    const Ranges found = std::isupper(static_cast<unsigned char>(c)) != 0 ? complement(named->second) : named->second;
    ranges.insert(ranges.end(), found.begin(), found.end());
    return true;
  }
  const char32_t code = take(rest);
  if (const auto control = controls.find(c); control != controls.end()) {
    ranges.emplace_back(control->second, control->second);
    return true;
  }
  if (code >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0) return false;
  ranges.emplace_back(code, code);
  return true;
}

}  // namespace

IgnorePattern::IgnorePattern(std::string text) : text_(std::move(text)) {
  if (!SyntaxCheck(text_).passes()) throw bad_pattern(text_);
  const std::string expression = translate();
  if (kind_ == Kind::kExpression) compile(expression);
}

// patternmatcher's compile(), line for line: what it makes of odd patterns is what people's files rely on.
std::string IgnorePattern::translate() {
  std::string expression = "^";
  std::string_view rest = text_;
  for (bool first = true; !rest.empty(); first = false) {
    const char c = rest[0];
    if (c == '*' && rest.starts_with("**")) {
      rest.remove_prefix(rest.starts_with("**/") ? 3 : 2);
      if (rest.empty() && kind_ == Kind::kExact) {
        kind_ = Kind::kPrefix;
      } else {
        expression += rest.empty() ? ".*" : "(.*/)?";
        kind_ = Kind::kExpression;
      }
      if (first) kind_ = Kind::kSuffix;
      continue;
    }
    rest.remove_prefix(1);
    if (c == '*' || c == '?') {
      expression += c == '*' ? "[^/]*" : "[^/]";
      kind_ = Kind::kExpression;
    } else if (std::string_view(".+()|{}$").find(c) != std::string_view::npos) {
      expression += std::string("\\") + c;
    } else if (c == '\\') {
      expression += c;
      if (rest.empty()) break;  // a trailing one stands for itself; in an expression it is a bad pattern
      const std::string_view before = rest;
      take(rest);
      expression += before.substr(0, before.size() - rest.size());
      kind_ = Kind::kExpression;
    } else {
      expression += c;
      if (c == '[' || c == ']') kind_ = Kind::kExpression;
    }
  }
  return expression;
}

// The part of Go's regexp syntax that translate() can write.
void IgnorePattern::compile(std::string_view rest) {
  constexpr std::string_view kDirectories = "(.*/)?";
  while (!rest.empty()) {
    Item item{.kind = Item::Kind::kOne};
    const char c = rest[0];
    if (rest.starts_with(kDirectories)) {
      rest.remove_prefix(kDirectories.size());
      items_.push_back({.kind = Item::Kind::kOptional, .skipped = 2});
      items_.push_back({.kind = Item::Kind::kAnyNumber, .negated = true, .ranges = {{'\n', '\n'}}});
      items_.push_back({.kind = Item::Kind::kOne, .ranges = {{'/', '/'}}});
      continue;
    }
    if (c == '[') {
      item = parse_class(rest);
    } else if (c == '^') {
      rest.remove_prefix(1);
      item.kind = Item::Kind::kBeginning;
    } else if (c == '.') {
      rest.remove_prefix(1);
      item.negated = true;
      item.ranges = {{'\n', '\n'}};
    } else if (c == '\\') {
      rest.remove_prefix(1);
      if (!take_escape(rest, item.ranges)) throw bad_pattern(text_);
    } else {
      const char32_t code = take(rest);
      item.ranges = {{code, code}};
    }
    if (rest.starts_with('*')) {
      rest.remove_prefix(1);
      item.kind = Item::Kind::kAnyNumber;
    }
    items_.push_back(std::move(item));
  }
}

IgnorePattern::Item IgnorePattern::parse_class(std::string_view& rest) const {
  Item item{.kind = Item::Kind::kOne};
  rest.remove_prefix(1);
  if (rest.starts_with('^')) {
    item.negated = true;
    rest.remove_prefix(1);
  }
  const auto one = [&](Ranges& ranges) {
    if (rest.empty()) throw bad_pattern(text_);
    if (rest[0] != '\\') {
      const char32_t code = take(rest);
      ranges.emplace_back(code, code);
      return;
    }
    rest.remove_prefix(1);
    if (!take_escape(rest, ranges)) throw bad_pattern(text_);
  };
  for (bool first = true; first || !rest.starts_with(']'); first = false) {
    if (rest.starts_with("[:")) {
      const auto end = rest.find(":]");
      const auto named =
          end == std::string_view::npos ? posix_classes().end() : posix_classes().find(rest.substr(2, end - 2));
      if (named != posix_classes().end()) {
        item.ranges.insert(item.ranges.end(), named->second.begin(), named->second.end());
        rest.remove_prefix(end + 2);
        continue;
      }
      if (end != std::string_view::npos) throw bad_pattern(text_);
    }
    Ranges low;
    one(low);
    const bool single = low.size() == 1 && low[0].first == low[0].second;
    if (single && rest.size() > 1 && rest[0] == '-' && rest[1] != ']') {
      rest.remove_prefix(1);
      Ranges high;
      one(high);
      if (high.size() != 1 || high[0].second < low[0].first) throw bad_pattern(text_);
      low[0].second = high[0].second;
    }
    item.ranges.insert(item.ranges.end(), low.begin(), low.end());
  }
  rest.remove_prefix(1);
  return item;
}

bool IgnorePattern::Item::takes(char32_t c) const {
  const bool within = std::any_of(ranges.begin(), ranges.end(),
                                  [c](const auto& range) { return range.first <= c && c <= range.second; });
  return within != negated;
}

bool IgnorePattern::matches(std::string_view path) const {
  switch (kind_) {
    case Kind::kExact:
      return path == text_;
    case Kind::kPrefix:
      return path.starts_with(std::string_view(text_).substr(0, text_.size() - 2));
    case Kind::kSuffix: {
      const std::string_view suffix = std::string_view(text_).substr(2);
      return path.ends_with(suffix) || (suffix.starts_with('/') && path == suffix.substr(1));
    }
    case Kind::kExpression:
      return run(path);
  }
  return false;
}

// All states at once: no pattern takes longer than its length times the path's.
bool IgnorePattern::run(std::string_view path) const {
  std::vector<bool> states(items_.size() + 1);
  enter(states, 0, true);
  while (!path.empty()) {
    const char32_t c = take(path);
    std::vector<bool> next(items_.size() + 1);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (!states[i] || !items_[i].takes(c)) continue;
      if (items_[i].kind == Item::Kind::kOne) enter(next, i + 1, false);
      if (items_[i].kind == Item::Kind::kAnyNumber) enter(next, i, false);
    }
    states = std::move(next);
  }
  return states.back();
}

void IgnorePattern::enter(std::vector<bool>& states, std::size_t item, bool at_beginning) const {
  while (!states[item]) {
    states[item] = true;
    if (item == items_.size()) return;
    switch (items_[item].kind) {
      case Item::Kind::kOne:
        return;
      case Item::Kind::kBeginning:
        if (!at_beginning) return;
        break;
      case Item::Kind::kOptional:
        enter(states, item + 1 + items_[item].skipped, at_beginning);
        break;
      case Item::Kind::kAnyNumber:
        break;
    }
    ++item;
  }
}

bool IgnorePattern::reaches_below(std::string_view directory) const {
  std::string_view pattern = text_;
  for (;;) {
    const std::string_view wanted = pattern.substr(0, pattern.find('/'));
    if (wanted.find_first_of("*?[]\\^") != std::string_view::npos) return true;
    const std::string_view have = directory.substr(0, directory.find('/'));
    if (wanted != have || wanted.size() == pattern.size()) return false;
    if (have.size() == directory.size()) return true;
    pattern.remove_prefix(wanted.size() + 1);
    directory.remove_prefix(have.size() + 1);
  }
}

}  // namespace runner::envs
