// SHA-256 of a text. Any thread.
#pragma once

#include <string_view>

#include "runner/core/content.hpp"

namespace runner::envs {

Hash digest_of(std::string_view text);

}  // namespace runner::envs
