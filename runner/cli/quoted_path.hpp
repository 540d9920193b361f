// File names as git shows them by default.
#pragma once

#include <string>
#include <string_view>

namespace runner::cli {

// The path itself, or, if it holds a control character, '"', '\' or a byte over 127, in double quotes with C's escapes
// and octal numbers: what `git ls-files` prints with core.quotePath=true. One line, plain ASCII, and back again.
std::string quoted_path(std::string_view path);

}  // namespace runner::cli
