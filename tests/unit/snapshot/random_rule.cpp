// Rules that hit: most are made from a path of the tree, each part of it generalised in one of the ways the grammar
// has.
#include <algorithm>
#include <cctype>

#include "random_tree.hpp"

using namespace std::string_literals;

namespace runner::test {
namespace {

const std::vector<std::string> kPieces{
    "a",           "b",        "foo",   "*",   "*",     "**",          "**/",
    "/**",         "/**/",     "/",     "/",   "?",     "[ab]",        "[!a]",
    "[^b]",        "[a-f]",    "[]a]",  "[",   "]",     "[[:alpha:]]", "[[:upper:]b]",
    "[[:space:]]", "[[:no:]]", "\\",    "\\ ", " ",     "\\*",         ".",
    ".c",          "bar",      "build", "A",   "[A-F]", "!",           "#",
    "\t",          "\\a",      "ab",    "-",   "[a-",   "\xc3\xbc",    "\xff",
    "***",         "foo.o",    "\\/",   "\r",  "[!/]",  "[[:",         "[a-\\c]",
    "[\\]]",       "[^]]",     "[--0]", "[/]", "[b-a]", "[[.a.]]",     "[[=a=]]"};

const std::vector<std::string> kOddLines{"",
                                         " ",
                                         "#a",
                                         "\\#a",
                                         "!",
                                         "/",
                                         "\\",
                                         "!/",
                                         "//",
                                         "*",
                                         "**",
                                         "/*",
                                         "!*/",
                                         "*/",
                                         "*.*",
                                         "\\!a",
                                         "!!a",
                                         "\t",
                                         "a \t",
                                         "a\\ ",
                                         "a\\ ",
                                         "b\\  ",
                                         "b ",
                                         "b  ",
                                         "/**",
                                         "**/",
                                         "/**/",
                                         "***",
                                         "*?*",
                                         "**/*",
                                         "*/**",
                                         "!**/*.c",
                                         "foo**",
                                         "**foo",
                                         "a\\\\",
                                         "a\0b"s,
                                         "!.git",
                                         ".git",
                                         ".*",
                                         "!.*",
                                         "\\",
                                         "a\\",
                                         "[",
                                         "[]",
                                         "[!]",
                                         "[^]]",
                                         "[\\",
                                         "/a/",
                                         "\xef\xbb\xbf"
                                         "a",
                                         " a",
                                         "\\ a",
                                         "!\\!a"};

const std::vector<std::string> kClassNames{"alnum", "alpha", "blank", "cntrl", "digit", "graph",
                                           "lower", "print", "punct", "space", "upper", "xdigit"};

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', start)) {
    parts.push_back(path.substr(start, slash - start));
    start = slash + 1;
  }
  parts.push_back(path.substr(start));
  return parts;
}

bool is_special(char c) { return c == '*' || c == '?' || c == '[' || c == '\\'; }

std::string escaped(Random& random, char c) {
  const int percent = is_special(c) ? 85 : c == ' ' ? 50 : 4;
  return chance(random, percent) ? "\\"s + c : std::string(1, c);
}

// Something that stands for one byte, mostly one that accepts `c`.
std::string class_for(Random& random, char c) {
  const auto byte = static_cast<unsigned char>(c);
  const auto near = [&](int distance) { return std::string(1, static_cast<char>(byte + distance)); };
  const std::string self = c == ']' || c == '\\' || c == '-' || c == '!' || c == '^' ? "\\"s + c : std::string(1, c);
  switch (below(random, 16)) {
    case 0:
      return "[" + self + "]";
    case 1:
      return "[!" + self + "]";
    case 2:
      return "[^" + near(1) + "]";
    case 3:
      return "[" + near(-1) + "-" + near(1) + "]";
    case 4:
      return "[" + near(0) + "-" + near(2) + "]";
    case 5:
      return "[" + near(-2) + "-" + near(0) + "]";
    case 6:
      return "[" + near(1) + "-" + near(3) + "]";
    case 7:
      return "[!" + near(-1) + "-" + near(1) + "]";
    case 8:
      return "[]" + self + "]";
    case 9:
      return "[" + self + "-]";
    case 10:
      return "[!-" + self + "]";
    case 11:
      return "[[:" + pick(random, kClassNames) + ":]" + (chance(random, 50) ? self : "") + "]";
    case 12:
      return "[![:" + pick(random, kClassNames) + ":]]";
    case 13:
      return "[x" + self + "[:" + pick(random, kClassNames) + ":]-z]";
    case 14:
      return "[" + near(-1) + "-\\" + near(1) + "]";
    default:
      return "[a-" + near(0) + "-" + near(2) + "]";
  }
}

std::string generalised(Random& random, const std::string& component) {
  const std::size_t at = below(random, component.size());
  const auto literal = [&](const std::string& text) {
    std::string result;
    for (const char c : text) result += escaped(random, c);
    return result;
  };
  switch (below(random, 12)) {
    case 0:
      return "*";
    case 1:
      return chance(random, 70) ? "**" : "***";
    case 2:
      return literal(component.substr(0, at)) + "*";
    case 3:
      return "*" + literal(component.substr(at));
    case 4:
      return literal(component.substr(0, at)) + "?" + literal(component.substr(at + 1));
    case 5:
    case 6:
      return literal(component.substr(0, at)) + class_for(random, component[at]) + literal(component.substr(at + 1));
    case 7:
      return literal(component.substr(0, at)) + "*" + literal(component.substr(at + 1));
    case 8:
      return literal(component.substr(0, at)) + "**" + literal(component.substr(at));
    default:
      return literal(component);
  }
}

std::string rule_from(Random& random, const std::string& path) {
  std::vector<std::string> parts = components(path);
  for (std::size_t cut = chance(random, 50) ? below(random, parts.size()) : 0; cut > 0; --cut) parts.pop_back();
  if (chance(random, 40)) parts.erase(parts.begin(), parts.end() - 1);
  std::string rule = chance(random, 25) ? "/" : chance(random, 15) ? "**/" : chance(random, 5) ? "*/" : "";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) rule += chance(random, 15) ? "/**/" : chance(random, 5) ? "**/" : chance(random, 4) ? "/**" : "/";
    if (i > 0 && i + 1 < parts.size() && chance(random, 15)) continue;  // "a//c", or "a/**/" + "/c"
    rule += generalised(random, parts[i]);
  }
  static const std::vector<std::string> kEnds{"/", "/", "/", "/*", "/**", "/**/", "/*/", "**"};
  if (chance(random, 35)) rule += pick(random, kEnds);
  return rule;
}

std::string recased(Random& random, std::string rule) {
  for (char& c : rule)
    if (chance(random, 40))
      c = static_cast<char>(std::isupper(static_cast<unsigned char>(c)) != 0   ? c + 32
                            : std::islower(static_cast<unsigned char>(c)) != 0 ? c - 32
                                                                               : c);
  return rule;
}

}  // namespace

std::string random_rule(Random& random, const RandomTree& tree) {
  if (chance(random, 7)) return pick(random, kOddLines);
  std::string rule;
  if (chance(random, 78) && !tree.files.empty()) {
    rule = rule_from(random,
                     *std::next(tree.files.begin(), static_cast<std::ptrdiff_t>(below(random, tree.files.size()))));
    if (chance(random, tree.ignore_case ? 50 : 4)) rule = recased(random, std::move(rule));
  } else {
    for (std::size_t count = 1 + below(random, 5); count > 0; --count) rule += pick(random, kPieces);
  }
  std::replace(rule.begin(), rule.end(), '\n', '?');
  static const std::vector<std::string> kBlanks{" ", "  ", "\\ ", "\t", " \t ", "\\  ", "\r", "\\"};
  if (chance(random, 10)) rule += pick(random, kBlanks);
  return (chance(random, 27) ? "!" : "") + rule;
}

}  // namespace runner::test
