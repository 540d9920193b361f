#include "envs/python_version.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string>
#include <vector>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

constexpr std::array<std::string_view, 8> kComparisons{"===", "~=", "==", "!=", "<=", ">=", "<", ">"};

// The numbers of a release; a suffix ("3.13.0rc1") counts for nothing. Empty: it is none.
std::vector<int> release(std::string_view version) {
  std::vector<int> numbers;
  while (!version.empty() && std::isdigit(static_cast<unsigned char>(version.front())) != 0) {
    int number = 0;
    const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
    if (error != std::errc()) return {};
    numbers.push_back(number);
    version.remove_prefix(static_cast<std::size_t>(end - version.data()));
    if (!version.starts_with('.')) break;
    version.remove_prefix(1);
  }
  return numbers;
}

int compare(std::vector<int> left, std::vector<int> right) {
  const auto size = std::max(left.size(), right.size());
  left.resize(size);
  right.resize(size);
  return left < right ? -1 : left == right ? 0 : 1;
}

bool begins_with(std::vector<int> version, const std::vector<int>& prefix) {
  version.resize(std::max(version.size(), prefix.size()));
  return std::equal(prefix.begin(), prefix.end(), version.begin());
}

bool satisfies(const std::vector<int>& version, std::string_view clause) {
  const auto wrong = [&] {
    return Error(ErrorCode::kInvalid, "requires-python: '" + std::string(clause) + "' is no version specifier",
                 "for example >=3.9");
  };
  const auto comparison =
      std::find_if(kComparisons.begin(), kComparisons.end(), [&](auto one) { return clause.starts_with(one); });
  if (comparison == kComparisons.end()) throw wrong();
  std::string_view text = clause.substr(comparison->size());
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  const std::vector<int> wanted = release(text);
  const bool any_below = text.ends_with(".*");
  if (wanted.empty() || (any_below && *comparison != "==" && *comparison != "!=")) throw wrong();
  const int order = compare(version, wanted);
  if (*comparison == "~=") {
    if (wanted.size() < 2) throw wrong();
    return order >= 0 && begins_with(version, {wanted.begin(), wanted.end() - 1});
  }
  if (*comparison == "<=") return order <= 0;
  if (*comparison == ">=") return order >= 0;
  if (*comparison == "<") return order < 0;
  if (*comparison == ">") return order > 0;
  const bool same = any_below ? begins_with(version, wanted) : order == 0;
  return *comparison == "!=" ? !same : same;
}

}  // namespace

bool python_satisfies(std::string_view version, std::string_view specifiers) {
  const std::vector<int> numbers = release(version);
  bool all = true;
  while (!specifiers.empty()) {
    const auto end = specifiers.find(',');
    std::string_view clause = specifiers.substr(0, end);
    clause.remove_prefix(std::min(clause.find_first_not_of(" \t"), clause.size()));
    clause = clause.substr(0, clause.find_last_not_of(" \t") + 1);
    if (!clause.empty()) all = satisfies(numbers, clause) && all;
    if (end == std::string_view::npos) break;
    specifiers.remove_prefix(end + 1);
  }
  return all;
}

}  // namespace runner::envs
