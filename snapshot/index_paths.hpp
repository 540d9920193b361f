// The paths of a git index file ("DIRC", versions 2 to 4, SHA-1), read by hand: libgit2 checks a hash over the whole
// file, which git does not, and makes an object of every entry. That takes longer than walking the tree. Foreign input:
// every length is checked. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "snapshot/tracked_paths.hpp"

namespace runner::snapshot {

struct IndexPaths {
  std::vector<char> bytes;
  std::vector<TrackedPaths::Path>
      paths;  // those below the prefix, in the index's order; in a conflict one path may be there thrice
};

// Nothing for what only libgit2 may judge: a split or sparse index, an unknown extension or version, damage, no regular
// file. An absent file is an empty index. `prefix` is "" or "a/b/".
std::optional<IndexPaths> read_index_paths(const std::filesystem::path& file, std::string_view prefix);

}  // namespace runner::snapshot
