#include <catch2/catch.hpp>

#include "snapshot/ignore_rules.hpp"

using runner::snapshot::RuleFile;
using runner::snapshot::Wildmatch;

namespace {

bool path_match(std::string_view pattern, std::string_view text, bool ignore_case = false) {
  return Wildmatch(pattern, Wildmatch::Slash::kSeparator, ignore_case).matches(text);
}

std::string decide(const RuleFile& file, std::string_view path, bool is_directory = false) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto* rule = file.decide(path, name, is_directory);
  return rule == nullptr ? "-" : std::to_string(rule->line()) + (rule->negated() ? "!" : "");
}

}  // namespace

TEST_CASE("a star stays in its component and two stars cross components") {
  CHECK(path_match("a/*", "a/b"));
  CHECK_FALSE(path_match("a/*", "a/b/c"));
  CHECK(path_match("a/**", "a/b/c"));
  CHECK(path_match("**/c", "c"));
  CHECK(path_match("**/c", "a/b/c"));
  CHECK_FALSE(path_match("**/c", "a/bc"));
  CHECK(path_match("a/**/c", "a/c"));
  CHECK(path_match("a/**/c", "a/x/y/c"));
  CHECK_FALSE(path_match("a**/c", "ax/y/c"));
  CHECK(path_match("a/**/b/**/c", "a/x/b/y/b/z/c"));
  CHECK_FALSE(path_match("*/c", "a/b/c"));
  CHECK_FALSE(path_match("a?c", "a/c"));
}

TEST_CASE("classes follow POSIX and git's corner cases") {
  CHECK(path_match("[]a]", "]"));
  CHECK(path_match("[!a]", "b"));
  CHECK(path_match("[^a]", "b"));
  CHECK_FALSE(path_match("[!a]", "/"));
  CHECK(path_match("[a-c]", "b"));
  CHECK(path_match("[a-]", "-"));
  CHECK(path_match("[\\]]", "]"));
  CHECK(path_match("[[:digit:]x]", "7"));
  CHECK(path_match("[[:digit:]x]", "x"));
  CHECK_FALSE(path_match("[[:nothing:]]", "a"));
  CHECK_FALSE(path_match("[a", "a"));
  CHECK_FALSE(path_match("a\\", "a\\"));
  CHECK(path_match("\\*", "*"));
  CHECK_FALSE(path_match("\\*", "a"));
}

TEST_CASE("letter case is ignored only on request and only for unescaped letters") {
  CHECK(path_match("FOO", "foo", true));
  CHECK_FALSE(path_match("FOO", "foo"));
  CHECK(path_match("[A-Z]", "q", true));
  CHECK_FALSE(path_match("\\A", "A", true));
}

TEST_CASE("a pattern made to be slow is not") {
  std::string pattern;
  for (int i = 0; i < 30; ++i) pattern += "**/a*a*";
  pattern += "b";
  std::string text;
  for (int i = 0; i < 60; ++i) text += "aaaaaaaaaaaaaaa/";
  CHECK_FALSE(path_match(pattern, text));
}

TEST_CASE("lines are read as git reads them") {
  const RuleFile file("f",
                      "\xef\xbb\xbf# a comment after a byte order mark\n"
                      "*.log  \n"    // 2: blanks go
                      "kept\\ \n"    // 3: an escaped blank stays
                      "windows\r\n"  // 4
                      "\n"
                      "!debug.log\n"  // 6
                      "build/\n"      // 7
                      "/top\n"        // 8
                      "a/b\n"         // 9
                      "\\#hash\n"     // 10
                      "\\!bang\n"     // 11
                      "tab\t\n"       // 12: a tab stays
                      "end",          // 13: no newline
                      false);
  CHECK(decide(file, "x.log") == "2");
  CHECK(decide(file, "d/debug.log") == "6!");
  CHECK(decide(file, "kept ") == "3");
  CHECK(decide(file, "kept") == "-");
  CHECK(decide(file, "windows") == "4");
  CHECK(decide(file, "build", true) == "7");
  CHECK(decide(file, "build", false) == "-");
  CHECK(decide(file, "top") == "8");
  CHECK(decide(file, "d/top") == "-");
  CHECK(decide(file, "a/b") == "9");
  CHECK(decide(file, "c/a/b") == "-");
  CHECK(decide(file, "#hash") == "10");
  CHECK(decide(file, "!bang") == "11");
  CHECK(decide(file, "tab\t") == "12");
  CHECK(decide(file, "tab") == "-");
  CHECK(decide(file, "end") == "13");
}
