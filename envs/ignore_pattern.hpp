// One pattern of a .dockerignore, as moby/patternmatcher v0.6 understands it: Go's filepath.Match with "**", by way of
// a regular expression, with all that follows from that way ("[*]" is no star; "\d" is a digit). Private to this
// folder. Plain value; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace runner::envs {

class IgnorePattern {
 public:
  // `text` is cleaned (no "./", no trailing slash) and has no "!". Error(kInvalid) for one that Go would not take.
  explicit IgnorePattern(std::string text);

  bool matches(std::string_view path) const;
  const std::string& text() const { return text_; }
  // Whether it could match something below the directory.
  bool reaches_below(std::string_view directory) const;

 private:
  enum class Kind { kExact, kPrefix, kSuffix, kExpression };
  struct Item {
    enum class Kind { kOne, kAnyNumber, kBeginning, kOptional } kind;
    bool negated = false;  // kOne, kAnyNumber: of code points outside of the ranges
    std::vector<std::pair<char32_t, char32_t>> ranges{};
    std::size_t skipped = 0;  // kOptional: how many items
    bool takes(char32_t c) const;
  };

  std::string translate();
  void compile(std::string_view expression);
  Item parse_class(std::string_view& rest) const;
  bool run(std::string_view path) const;
  void enter(std::vector<bool>& states, std::size_t item, bool at_beginning) const;

  std::string text_;
  Kind kind_ = Kind::kExact;
  std::vector<Item> items_;
};

}  // namespace runner::envs
