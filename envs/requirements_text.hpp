// The text of a requirements file as pip cuts it into lines. Private to this folder. Any thread; no I/O.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runner::envs {

// A line after continuations ('\' at the end) are joined and comments (a '#' at the beginning or after a blank) cut
// off; without blanks at its ends and never empty.
struct RequirementsLine {
  int number;  // of its first line, from 1
  std::string text;
};

// UTF-8, or UTF-16 with a byte order mark (what PowerShell writes). Error(kInvalid) "LABEL:LINE: …" for bytes that are
// neither.
std::vector<RequirementsLine> requirements_lines(std::string_view bytes, const std::string& label, int first_line);

// Error(kInvalid) naming the text, without a place, where it is no single line: pip cuts where Python's splitlines()
// does, and what stands behind would count as lines of its own.
void require_one_line(std::string_view text);

// The words of an option's part, with the quotes and backslashes of a shell. Error(kInvalid) for a quote that is not
// closed.
std::vector<std::string> shell_words(std::string_view text);

}  // namespace runner::envs
