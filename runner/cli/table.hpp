// A table of text that fits the terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runner/cli/terminal.hpp"

namespace runner::cli {

struct Column {
  std::string title;
  bool right = false;     // numbers
  std::size_t least = 0;  // columns it keeps when the table must shrink; 0: it never shrinks
};

struct Cell {
  std::string text;  // anything; it is made printable here
  Colour colour = Colour::kNone;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // `width` columns at most, 0: as wide as it needs. Columns that may shrink do so, the widest first; columns that are
  // empty in every row are left out.
  std::string text(std::size_t width) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace runner::cli
