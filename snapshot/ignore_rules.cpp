#include "snapshot/ignore_rules.hpp"

#include <algorithm>
#include <utility>

namespace runner::snapshot {
namespace {

constexpr std::string_view kSpecial = "*?[\\";

// Blanks at the end go, unless escaped; a tab is no blank.
std::string_view trim_trailing_blanks(std::string_view line) {
  std::size_t keep = 0;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == ' ') continue;
    if (line[at] == '\\') {
      if (at + 1 == line.size()) return line;
      ++at;
    }
    keep = at + 1;
  }
  return line.substr(0, keep);
}

}  // namespace

Rule::Rule(std::string_view line, std::uint32_t number, bool ignore_case)
    : text_(line), line_(number), ignore_case_(ignore_case) {
  std::string_view pattern = line;
  if (pattern.starts_with('!')) {
    negated_ = true;
    pattern.remove_prefix(1);
  }
  if (pattern.ends_with('/')) {
    directory_only_ = true;
    pattern.remove_suffix(1);
  }
  name_only_ = pattern.find('/') == std::string_view::npos;
  std::size_t plain = std::min(pattern.find_first_of(kSpecial), pattern.size());
  if (name_only_) {
    if (plain == pattern.size()) {
      literal_ = pattern;
    } else if (pattern[0] == '*' && pattern.find_first_of(kSpecial, 1) == std::string_view::npos) {
      suffix_only_ = true;
      literal_ = pattern.substr(1);
    } else {
      rest_.emplace(pattern, Wildmatch::Slash::kOrdinary, ignore_case);
    }
    return;
  }
  if (pattern.starts_with('/')) {
    pattern.remove_prefix(1);
    --plain;
  }
  literal_ = pattern.substr(0, plain);
  // The pattern proper starts behind the literal part, so that "foo**/bar" has "**/" at its start. As in git.
  if (plain < pattern.size()) rest_.emplace(pattern.substr(plain), Wildmatch::Slash::kSeparator, ignore_case);
}

bool Rule::matches(std::string_view path, std::string_view name, bool is_directory) const {
  if (directory_only_ && !is_directory) return false;
  if (name_only_) {
    if (rest_) return rest_->matches(name);
    if (!suffix_only_) return equal_bytes(literal_, name, ignore_case_);
    return name.size() >= literal_.size() &&
           equal_bytes(literal_, name.substr(name.size() - literal_.size()), ignore_case_);
  }
  if (path.size() < literal_.size() || !equal_bytes(literal_, path.substr(0, literal_.size()), ignore_case_))
    return false;
  path.remove_prefix(literal_.size());
  return rest_ ? rest_->matches(path) : path.empty();
}

RuleFile::RuleFile(std::string shown, std::string_view content, bool ignore_case) : shown_(std::move(shown)) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());
  for (std::uint32_t number = 1; !content.empty(); ++number) {
    const std::size_t end = std::min(content.find('\n'), content.size());
    std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.empty() || line.front() == '#') continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trim_trailing_blanks(line.substr(0, line.find('\0')));  // git works on C strings
    if (!line.empty()) rules_.emplace_back(line, number, ignore_case);
  }
}

const Rule* RuleFile::decide(std::string_view path, std::string_view name, bool is_directory) const {
  const auto found = std::find_if(rules_.rbegin(), rules_.rend(),
                                  [&](const Rule& rule) { return rule.matches(path, name, is_directory); });
  return found == rules_.rend() ? nullptr : &*found;
}

}  // namespace runner::snapshot
