#include "runner/pipeline/line_difference.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace runner::pipeline {
namespace {

using Lines = std::span<const std::string_view>;

constexpr std::size_t kMostCells = 4'000'000;  // of the table: 16 MB; larger differences are told as a whole

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

void tell(std::vector<std::string>& into, const char* sign, std::string_view line) {
  into.push_back(sign + std::string(line));
}

// Lengths of the longest common subsequences of all pairs of rests.
std::vector<std::uint32_t> common_lengths(Lines before, Lines after) {
  const std::size_t width = after.size() + 1;
  std::vector<std::uint32_t> lengths((before.size() + 1) * width, 0);
  for (std::size_t i = before.size(); i-- > 0;)
    for (std::size_t j = after.size(); j-- > 0;)
      lengths[i * width + j] = before[i] == after[j]
                                   ? lengths[(i + 1) * width + j + 1] + 1
                                   : std::max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
  return lengths;
}

}  // namespace

std::vector<std::string> line_difference(std::string_view before_text, std::string_view after_text) {
  const auto before_lines = lines_of(before_text);
  const auto after_lines = lines_of(after_text);
  Lines before = before_lines;
  Lines after = after_lines;
  while (!before.empty() && !after.empty() && before.front() == after.front()) {
    before = before.subspan(1);
    after = after.subspan(1);
  }
  while (!before.empty() && !after.empty() && before.back() == after.back()) {
    before = before.first(before.size() - 1);
    after = after.first(after.size() - 1);
  }
  std::vector<std::string> found;
  std::size_t i = 0;
  std::size_t j = 0;
  if ((before.size() + 1) * (after.size() + 1) <= kMostCells) {
    const auto lengths = common_lengths(before, after);
    const std::size_t width = after.size() + 1;
    while (i < before.size() && j < after.size()) {
      if (before[i] == after[j]) {
        ++i;
        ++j;
      } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) {
        tell(found, "- ", before[i++]);
      } else {
        tell(found, "+ ", after[j++]);
      }
    }
  }
  for (; i < before.size(); ++i) tell(found, "- ", before[i]);
  for (; j < after.size(); ++j) tell(found, "+ ", after[j]);
  return found;
}

}  // namespace runner::pipeline
