// The Range header (RFC 9110, section 14) as far as it is of use here: one range of bytes. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace runner::http {

struct ByteRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;  // one past the last byte
  bool operator==(const ByteRange&) const = default;
};

// Which bytes of a content of `size` bytes "bytes=0-499", "bytes=500-" or "bytes=-500" mean. `whole`: the header is of
// another form (several ranges, another unit) and to be ignored, as the RFC allows. Nothing: no byte of the content is
// in the range (416).
struct RangeAnswer {
  bool whole = false;
  std::optional<ByteRange> part;
};
RangeAnswer resolve_range(std::string_view header, std::int64_t size);

}  // namespace runner::http
