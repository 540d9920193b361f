// Ignore files and their patterns. A rule takes shortcuts (a literal beginning, a suffix); the plain machine must
// agree.
#include <optional>
#include <string>

#include "snapshot/ignore_rules.hpp"
#include "snapshot/wildmatch.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;
using snapshot::Wildmatch;

namespace {

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// The rule by gitignore(5), without any shortcut; nothing where git itself departs from the plain machine: behind a
// literal beginning "**/" stands at a start.
std::optional<bool> plainly(std::string_view pattern, std::string_view path, bool ignore_case) {
  if (pattern.starts_with('!')) pattern.remove_prefix(1);
  if (pattern.ends_with('/')) pattern.remove_suffix(1);
  if (pattern.find('/') == std::string_view::npos)
    return Wildmatch(pattern, Wildmatch::Slash::kOrdinary, ignore_case).matches(name_of(path));
  if (pattern.starts_with('/')) pattern.remove_prefix(1);
  if (pattern.find("**") != std::string_view::npos) return std::nullopt;
  return Wildmatch(pattern, Wildmatch::Slash::kSeparator, ignore_case).matches(path);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const bool ignore_case = input.choose(2) == 1;
  const std::string path(input.take_until('\n'));
  const snapshot::RuleFile rules(".gitignore", input.rest(), ignore_case);
  if (const snapshot::Rule* rule = rules.decide(path, name_of(path), true)) {
    fuzz::require(rule->matches(path, name_of(path), true), "the rule that decides matches");
    if (const auto expected = plainly(rule->text(), path, ignore_case))
      fuzz::require(*expected, "a rule without its shortcuts matches, too", rule->text(), path);
  }
  const std::string_view first = input.rest().substr(0, input.rest().find('\n'));
  if (first.find_first_of(std::string_view("\0\r", 2)) != std::string_view::npos || first.empty() || first == "!" ||
      first.ends_with(' ') || first == "/")
    return 0;
  const snapshot::Rule rule(first, 1, ignore_case);
  if (const auto expected = plainly(first, path, ignore_case))
    fuzz::require(*expected == rule.matches(path, name_of(path), true), "shortcuts change nothing", first, path);
  return 0;
}
