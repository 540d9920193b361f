// How much a run may be told of itself. Every list, search and document carries these texts, and a script may write
// them: they are bounded where a request is read. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace runner {

inline constexpr std::size_t kMaxRunName = 1 << 10;       // bytes
inline constexpr std::size_t kMaxKey = 256;               // bytes of a tag's or a property's key
inline constexpr std::size_t kMaxValue = 8 << 10;         // bytes of its value
inline constexpr std::size_t kMaxTags = 1'000;            // of a run, and as many properties
inline constexpr std::size_t kMaxReason = 4 << 10;        // bytes: why a run was stopped, its error's message
inline constexpr std::size_t kMaxRunsBelow = 100'000;     // made by scripts below a run that a user has submitted
inline constexpr std::size_t kMaxChildrenText = 1 << 20;  // bytes: names and tags of all children of one request

// Error(kInvalid), "WHERE: 'MEMBER' …" naming the limit. `member`: "tags", "properties".
void check_run_name(const std::string& where, std::string_view name);
void check_key(const std::string& where, const std::string& member, std::string_view key);  // may not be empty
void check_value(const std::string& where, const std::string& member, std::string_view key, std::string_view value);
void check_count(const std::string& where, const std::string& member, std::size_t count);

// At most `most` bytes, with "…" for what is left out; UTF-8 is cut between code points.
std::string shortened(std::string text, std::size_t most);

}  // namespace runner
