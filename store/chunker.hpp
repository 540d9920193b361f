// Where a large content is cut, decided by its bytes alone (FastCDC with a gear hash), so that an insertion moves the
// cuts around it and no others. The constants are facts of the disk format: another cut makes the same file share
// nothing with what is stored.
#pragma once

#include <cstddef>
#include <span>

namespace runner::store {

inline constexpr std::size_t kWholeLimit = 2U << 20;   // bytes; content up to this is one chunk
inline constexpr std::size_t kMinChunk = 256U << 10;   // bytes; only a last chunk is shorter
inline constexpr std::size_t kNormalChunk = 1U << 20;  // bytes; before it a cut is rarer, behind it more frequent
inline constexpr std::size_t kMaxChunk = 2U << 20;     // bytes

// The length of the first chunk of `data`, which holds at least kMaxChunk bytes or all that is left of the content.
std::size_t first_chunk(std::span<const std::byte> data);

}  // namespace runner::store
