// SHA-256 of a text or a file. Any thread.
#pragma once

#include <filesystem>
#include <string_view>

#include "runner/core/content.hpp"

namespace runner::envs {

Hash digest_of(std::string_view text);
// Of the file's content, in bounded memory. Throws as os::open_file does.
Hash digest_of_file(const std::filesystem::path& file);

}  // namespace runner::envs
