// The uncommitted change as a text that `git apply --binary` understands. Private to git/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "git/changes.hpp"

namespace runner::git {

struct RenderedPatch {
  std::string text;  // empty: no change of a tracked file
  std::int64_t files = 0;
  struct LeftOut {
    std::string path;
    std::string why;
    std::int64_t bytes = 0;  // of the file in the work tree
  };
  std::vector<LeftOut> left_out;  // each is marked in the text, too
};

// Files are left out whole: those that exceed `limit` (bytes of text, all together; small ones behind them still go
// in), and those whose content cannot be had. Throws Unreadable.
RenderedPatch render_patch(const Objects& objects, WorkFiles& files, const std::vector<Change>& changes,
                           std::size_t limit);

}  // namespace runner::git
