#include "runner/cli/table.hpp"

#include <algorithm>
#include <numeric>

namespace runner::cli {
namespace {

constexpr std::size_t kGap = 2;  // blanks between columns

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string blanks(width - std::min(width, display_width(text)), ' ');
  return right ? blanks + text : text + blanks;
}

// Takes columns away from the widest that may still give, until the sum fits or nobody gives any more.
void shrink(std::vector<std::size_t>& widths, const std::vector<std::size_t>& least, std::size_t available) {
  std::size_t sum = std::accumulate(widths.begin(), widths.end(), std::size_t{0});
  while (sum > available) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i)
      if (least[i] > 0 && widths[i] > least[i] && (widest == widths.size() || widths[i] > widths[widest])) widest = i;
    if (widest == widths.size()) return;
    --widths[widest];
    --sum;
  }
}

}  // namespace

std::string Table::text(std::size_t width) const {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    if (std::any_of(rows_.begin(), rows_.end(), [i](const auto& row) { return !row[i].text.empty(); }))
      shown.push_back(i);

  std::vector<std::vector<std::string>> texts(rows_.size());
  std::vector<std::size_t> widths, least;
  for (const std::size_t column : shown) {
    std::size_t widest = display_width(columns_[column].title);
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      texts[row].push_back(printable(rows_[row][column].text));
      widest = std::max(widest, display_width(texts[row].back()));
    }
    widths.push_back(widest);
    least.push_back(columns_[column].least);
  }
  const std::size_t gaps = shown.empty() ? 0 : kGap * (shown.size() - 1);
  if (width > 0) shrink(widths, least, width > gaps ? width - gaps : 0);

  std::string result;
  const auto line = [&](const auto& cell_text, const auto& colour_of) {
    std::string text;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      if (i > 0) text.append(kGap, ' ');
      std::string cell = padded(shortened(cell_text(i), widths[i]), widths[i], columns_[shown[i]].right);
      if (i + 1 == shown.size()) cell.erase(cell.find_last_not_of(' ') + 1);
      text += coloured(cell, colour_of(i));
    }
    result += text + "\n";
  };
  line([&](std::size_t i) { return columns_[shown[i]].title; }, [](std::size_t) { return Colour::kDim; });
  for (std::size_t row = 0; row < rows_.size(); ++row)
    line([&](std::size_t i) { return texts[row][i]; }, [&](std::size_t i) { return rows_[row][shown[i]].colour; });
  return result;
}

}  // namespace runner::cli
