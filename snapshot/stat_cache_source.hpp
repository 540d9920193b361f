// Whose stat cache a file is, for `gc` and `fsck`.
#pragma once

#include <filesystem>
#include <optional>

namespace runner::snapshot {

// The source directory named in the file's header; nothing if this is no stat cache of any version that we know.
std::optional<std::filesystem::path> stat_cache_source(const std::filesystem::path& file);

}  // namespace runner::snapshot
