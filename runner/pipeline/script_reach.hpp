// Whether a path of the host can be made to lead elsewhere by a script that may write to some of its directories.
#pragma once

#include <filesystem>
#include <vector>

namespace runner::pipeline {

// True if a directory on the way to `path`, or what a link on that way names, lies in one of `writable` (or is it), or
// if `path` itself is something in one of them. Not for `path` that is one of them: what is mounted there cannot be
// moved from within. Looks at the file system as it is; what lies outside of `writable` is taken not to change. Any
// thread; throws nothing of its own.
bool leads_through(const std::filesystem::path& path, const std::vector<std::filesystem::path>& writable);

}  // namespace runner::pipeline
