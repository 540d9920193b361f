// Paths in texts. Private to git/.
#pragma once

#include <string>
#include <string_view>

namespace runner::git {

// As git with core.quotePath=false: a path that holds a control character, a quote or a backslash is put in quotes with
// C's escapes, any other stays as it is.
std::string quoted_path(std::string_view path, std::string_view prefix = {});

}  // namespace runner::git
