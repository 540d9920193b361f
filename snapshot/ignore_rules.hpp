// The rules of one ignore file, with git's exact reading of its lines. Immutable after construction: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/wildmatch.hpp"

namespace runner::snapshot {

class Rule {
 public:
  // `line` without its line end, blanks trimmed; never empty or a comment.
  Rule(std::string_view line, std::uint32_t number, bool ignore_case);

  // `path` is relative to the directory that the ignore file governs, `name` is its last component.
  bool matches(std::string_view path, std::string_view name, bool is_directory) const;
  bool negated() const { return negated_; }
  std::string_view text() const { return text_; }  // as written
  std::uint32_t line() const { return line_; }     // from 1

 private:
  std::string text_;
  std::uint32_t line_;
  bool ignore_case_;
  bool negated_ = false;
  bool directory_only_ = false;
  bool name_only_ = false;         // no '/' inside: matches the last component at any depth
  bool suffix_only_ = false;       // "*literal", by far the most frequent: no need of the machine
  std::string literal_;            // the leading part without wildcards; with suffix_only_ the part behind the star
  std::optional<Wildmatch> rest_;  // what follows `literal_`; nothing: `literal_` is all
};

class RuleFile {
 public:
  // `shown` names the file for people: ".gitignore", "../.gitignore", "/home/u/.config/git/ignore".
  RuleFile(std::string shown, std::string_view content, bool ignore_case);

  // The last rule that matches decides; nullptr: this file says nothing.
  const Rule* decide(std::string_view path, std::string_view name, bool is_directory) const;
  const std::string& shown() const { return shown_; }
  bool empty() const { return rules_.empty(); }

 private:
  std::string shown_;
  std::vector<Rule> rules_;
};

}  // namespace runner::snapshot
