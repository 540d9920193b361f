// Whole files: read, publish atomically, remove trees. All descriptors are O_CLOEXEC. Any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "runner/os/fd.hpp"

namespace runner::os {

// open(2) that throws Error with the path in its message.
Fd open_file(const std::filesystem::path& path, int flags, mode_t mode = 0600);

// The whole file; throws. `limit` bytes at most, a longer file is Error(kInvalid): hostile or damaged input. So is a
// named pipe, for which nobody waits.
std::string read_file(const std::filesystem::path& path, std::size_t limit = 64 << 20);
std::optional<std::string> read_file_if_exists(const std::filesystem::path& path, std::size_t limit = 64 << 20);

void write_all(int fd, std::string_view bytes, std::string_view what);  // handles short writes and EINTR

enum class Durability { kAtomic, kDurable };  // kDurable: fsync of file and directory before returning
// Temp file in the same directory, then rename: readers see the old content or the new, never a part.
void publish_file(const std::filesystem::path& path, std::string_view content, Durability durability,
                  mode_t mode = 0600);
// The same, but only the first caller wins (link(2) instead of rename): false when the file exists already. Durable: it
// is on the disk before it appears under its name, and so is the name before `true` is returned.
bool publish_file_once(const std::filesystem::path& path, std::string_view content, mode_t mode = 0600);

void make_directories(const std::filesystem::path& path, mode_t mode = 0700);
// Removes a tree that may hold mode-000 directories (overlay's work/work) and anything a hostile script left: opens
// nothing but directories, follows no link, crosses no mount. Missing is fine. Throws when something stays.
void remove_tree(const std::filesystem::path& path);
// What a tree takes on the disk; hard links within it count once. What cannot be read counts for nothing.
std::int64_t disk_bytes_below(const std::filesystem::path& root);

}  // namespace runner::os
