// The word that was probably meant by a mistyped one: for "did you mean". Any thread, throws nothing of its own.
#pragma once

#include <span>
#include <string_view>

namespace runner {

// The candidate nearest to a mistyped word, or nothing when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace runner
