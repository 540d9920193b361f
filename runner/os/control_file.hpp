// Small files of the kernel: one number, or lines of "key number". Private to this folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::os {

std::vector<std::string_view> split(std::string_view text, char separator);
std::string trimmed_file(const std::filesystem::path& file);   // without its last newlines; empty if it is missing
std::optional<std::int64_t> as_number(std::string_view text);  // its beginning
// "key value" lines, as in memory.events, memory.oom_control and cpu.stat.
std::optional<std::int64_t> keyed_number(const std::filesystem::path& file, std::string_view key);

}  // namespace runner::os
