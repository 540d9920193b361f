#include "runner/core/nearest.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace runner {

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  const auto distance = [word](std::string_view other) {  // Levenshtein, one row
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0]++;
      for (std::size_t j = 0; j < other.size(); ++j) {
        const std::size_t replaced = diagonal + (word[i] == other[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
      }
    }
    return row.back();
  };
  // A third of the word may be wrong: "lst" is list, "frobnicate" is nothing we have.
  std::size_t best = std::max<std::size_t>(word.size() / 3, 1) + 1;
  std::string_view found;
  for (const std::string_view candidate : candidates) {
    const std::size_t d = distance(candidate);
    if (d >= best) continue;
    best = d;
    found = candidate;
  }
  return found;
}

}  // namespace runner
