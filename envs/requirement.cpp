// One requirement (PEP 508) taken apart and written in one spelling. What comes out is what every pip and uv reads;
// where they differ in what they take (`foo (>=1)`, `foo[a,b] >=1`), the newest spelling is written.
#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "envs/requirements_text.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

constexpr std::array<std::string_view, 8> kComparisons{"===", "~=", "==", "!=", "<=", ">=", "<", ">"};
// PEP 508's and the dotted spellings of before it, which pip still reads.
constexpr std::array<std::string_view, 18> kMarkerVariables{"python_version",
                                                            "python_full_version",
                                                            "os_name",
                                                            "sys_platform",
                                                            "platform_release",
                                                            "platform_system",
                                                            "platform_version",
                                                            "platform_machine",
                                                            "platform_python_implementation",
                                                            "implementation_name",
                                                            "implementation_version",
                                                            "extra",
                                                            "os.name",
                                                            "sys.platform",
                                                            "platform.version",
                                                            "platform.machine",
                                                            "platform.python_implementation",
                                                            "python_implementation"};

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_alphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool is_name(char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; }
bool is_version(char c) { return is_name(c) || c == '*' || c == '+' || c == '!'; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ",") + part;
  return all;
}

void sort_distinct(std::vector<std::string>& parts) {
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
}

class RequirementParser {
 public:
  explicit RequirementParser(std::string_view text) : text_(text) {}

  std::string normalised() {
    skip_blanks();
    std::string result = normalised_name(name("a package's name"));
    if (take('[')) result += extras();
    skip_blanks();
    if (take('@')) return result + url();
    result += take('(') ? specifiers(')') : specifiers('\0');
    skip_blanks();
    if (take(';')) result += "; " + marker();
    skip_blanks();
    if (!at_end()) fail_at_rest();
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& why, const std::string& hint = {}) const {
    throw Error(ErrorCode::kInvalid, "'" + std::string(text_) + "': " + why, hint);
  }

  [[noreturn]] void fail_at_rest() const {
    const std::string rest(text_.substr(at_));
    if (rest.front() == '=') fail("'" + rest + "' is no comparison", "an exact version is written NAME==VERSION");
    if (is_alphanumeric(rest.front()))
      fail("'" + rest + "' after the name", "a version is written NAME==VERSION; one requirement a line");
    fail("'" + rest + "' is not understood", "write NAME, NAME==VERSION, NAME>=VERSION or NAME @ URL");
  }

  bool at_end() const { return at_ == text_.size(); }
  char here() const { return at_end() ? '\0' : text_[at_]; }
  void skip_blanks() {
    while (is_blank(here())) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (here() != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  template <class Belongs>
  std::string_view span(const Belongs& belongs) {
    const std::size_t begin = at_;
    while (!at_end() && belongs(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string_view name(const std::string& what) {
    const auto found = span(is_name);
    if (found.empty()) fail("no " + what.substr(what.find(' ') + 1));
    if (!is_alphanumeric(found.front()) || !is_alphanumeric(found.back()))
      fail("'" + std::string(found) + "' is not " + what);
    return found;
  }

  std::string extras() {
    std::vector<std::string> found;
    skip_blanks();
    while (!take(']')) {
      if (!found.empty() && !take(',')) fail("the list of extras has no end", "write NAME[EXTRA,EXTRA]");
      skip_blanks();
      found.push_back(normalised_name(name("an extra's name")));
    }
    sort_distinct(found);
    return found.empty() ? "" : "[" + joined(found) + "]";
  }

  std::string url() {
    skip_blanks();
    const auto found = span([](char c) { return !is_blank(c); });
    // Behind a blank a '#' begins a comment in the file that this is written into, and a '-' an option; a '\\' at the
    // end takes the next line in.
    constexpr std::string_view kBeginnings = "$./_~";
    if (found.empty() ||
        (!is_alphanumeric(found.front()) && kBeginnings.find(found.front()) == std::string_view::npos) ||
        found.back() == '\\')
      fail("no URL after '@'");
    std::string result = " @ " + std::string(found);
    skip_blanks();
    // A ';' without a blank before it belongs to the URL.
    if (take(';')) result += " ; " + marker();
    skip_blanks();
    if (!at_end()) fail_at_rest();
    return result;
  }

  std::string specifiers(char end) {
    std::vector<std::string> found;
    skip_blanks();
    while (!at_end() && here() != ';' && (end == '\0' || here() != end)) {
      if (!found.empty() && !take(',')) break;
      skip_blanks();
      if (at_end() || here() == end) break;  // a comma at the end does no harm
      const auto clause = specifier();
      if (clause.empty()) break;
      found.push_back(clause);
      skip_blanks();
    }
    if (end != '\0' && !take(end)) fail("a parenthesis is not closed");
    sort_distinct(found);
    return joined(found);
  }

  std::string specifier() {
    for (const auto comparison : kComparisons) {
      if (!take(comparison)) continue;
      skip_blanks();
      const auto version =
          comparison == "===" ? span([](char c) { return !is_blank(c) && c != ',' && c != ';'; }) : span(is_version);
      if (version.empty()) fail("no version after '" + std::string(comparison) + "'");
      return std::string(comparison) + lower(version);
    }
    return {};
  }

  std::string marker() {
    std::string result = conjunction();
    while (take_word("or")) result += " or " + conjunction();
    return result;
  }
  std::string conjunction() {
    std::string result = condition();
    while (take_word("and")) result += " and " + condition();
    return result;
  }
  std::string condition() {
    if (take('(')) {
      const std::string inner = marker();
      if (!take(')')) fail("a parenthesis of the marker is not closed");
      return "(" + inner + ")";
    }
    const std::string left = marker_value();
    const std::string comparison = marker_comparison();
    return left + " " + comparison + " " + marker_value();
  }

  bool take_word(std::string_view word) {
    skip_blanks();
    const auto rest = text_.substr(at_);
    if (!rest.starts_with(word) || (rest.size() > word.size() && is_name(rest[word.size()]))) return false;
    at_ += word.size();
    return true;
  }

  std::string marker_comparison() {
    skip_blanks();
    for (const auto comparison : kComparisons)
      if (take(comparison)) return std::string(comparison);
    if (take_word("in")) return "in";
    if (take_word("not") && take_word("in")) return "not in";
    fail("the marker has no comparison", "for example: ; python_version < \"3.9\"");
  }

  std::string marker_value() {
    skip_blanks();
    const char quote = here();
    if (quote == '"' || quote == '\'') {
      ++at_;
      const auto value = span([quote](char c) { return c != quote; });
      if (!take(quote)) fail("a text of the marker has no closing quote");
      const char written = value.find('"') == std::string_view::npos ? '"' : '\'';
      return written + std::string(value) + written;
    }
    const auto variable = span([](char c) { return is_alphanumeric(c) || c == '_' || c == '.'; });
    if (variable.empty()) fail("the marker is incomplete", "for example: ; python_version < \"3.9\"");
    if (std::find(kMarkerVariables.begin(), kMarkerVariables.end(), variable) == kMarkerVariables.end())
      fail("the marker knows no '" + std::string(variable) + "'", "python_version, sys_platform, platform_machine, …");
    return std::string(variable);
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string normalised_name(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != '.')
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (result.empty() || result.back() != '-')
      result += '-';
  }
  return result;
}

std::string normalised_requirement(std::string_view requirement) {
  require_one_line(requirement);
  return RequirementParser(requirement).normalised();
}

}  // namespace runner::envs
