#include "envs/docker_ignore.hpp"

#include <algorithm>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\v\f";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Go's path.Clean.
std::string cleaned(std::string_view path) {
  const bool rooted = path.starts_with('/');
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..")
      parts.pop_back();
    else if (part != ".." || !rooted)
      parts.push_back(part);
  }
  std::string clean = rooted ? "/" : "";
  for (const std::string_view part : parts) clean += (clean.empty() || clean == "/" ? "" : "/") + std::string(part);
  return clean.empty() ? "." : clean;
}

// moby's ignorefile.ReadAll, of one line; patternmatcher.New then cleans what comes out once more.
std::string as_read(std::string_view line) {
  const bool exception = line.starts_with('!');
  std::string pattern(exception ? trimmed(line.substr(1)) : line);
  if (!pattern.empty()) pattern = cleaned(pattern);
  if (pattern.size() > 1 && pattern[0] == '/') pattern.erase(0, 1);
  return (exception ? "!" : "") + pattern;
}

}  // namespace

DockerIgnore::DockerIgnore(std::string_view text, const std::string& label) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('#') || trimmed(line).empty()) continue;
    std::string pattern = cleaned(trimmed(as_read(trimmed(line))));
    const bool exception = pattern[0] == '!';
    if (exception) pattern.erase(0, 1);
    const std::string place = label + ":" + std::to_string(number);
    if (pattern.empty()) throw Error(ErrorCode::kInvalid, place + ": a \"!\" without a pattern");
    try {
      rules_.push_back({IgnorePattern(std::move(pattern)), exception});
    } catch (const Error& error) {
      throw error.within(place);
    }
  }
}

DockerIgnore::Verdict DockerIgnore::look_at(std::string_view path, const Matched& parent) const {
  Verdict verdict{.matched = Matched(rules_.size())};
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = rules_[i];
    const bool inherited = !parent.empty() && parent[i];
    // What cannot change the verdict is not asked, as moby does; the children inherit that, too.
    if (!inherited && rule.exception != verdict.ignored) continue;
    verdict.matched[i] = inherited || rule.pattern.matches(path);
    if (verdict.matched[i]) verdict.ignored = !rule.exception;
  }
  return verdict;
}

bool DockerIgnore::ignores(std::string_view path) const {
  Verdict verdict;
  for (auto slash = path.find('/');; slash = path.find('/', slash + 1)) {
    verdict = look_at(path.substr(0, slash), verdict.matched);
    if (slash == std::string_view::npos) return verdict.ignored;
  }
}

bool DockerIgnore::may_return_below(std::string_view directory) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [directory](const Rule& rule) { return rule.exception && rule.pattern.reaches_below(directory); });
}

}  // namespace runner::envs
