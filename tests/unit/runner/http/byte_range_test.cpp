#include "runner/http/byte_range.hpp"

#include <catch2/catch.hpp>

namespace runner::http {
namespace {

std::optional<ByteRange> part(std::string_view header, std::int64_t size) {
  const RangeAnswer answer = resolve_range(header, size);
  CHECK_FALSE(answer.whole);
  return answer.part;
}

}  // namespace

TEST_CASE("a range is clipped to what there is") {
  CHECK(part("bytes=0-0", 10) == ByteRange{0, 1});
  CHECK(part("bytes=3-5", 10) == ByteRange{3, 6});
  CHECK(part("bytes=3-", 10) == ByteRange{3, 10});
  CHECK(part("bytes=3-99999999999999999999999", 10) == ByteRange{3, 10});
  CHECK(part("bytes=-4", 10) == ByteRange{6, 10});
  CHECK(part("bytes=-40", 10) == ByteRange{0, 10});
  CHECK(part("bytes= 3-5 ", 10) == ByteRange{3, 6});
}

TEST_CASE("a range beyond the end cannot be satisfied") {
  for (const char* header : {"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"})
    CHECK_FALSE(part(header, 10));
  CHECK_FALSE(part("bytes=0-", 0));
  CHECK_FALSE(part("bytes=-5", 0));
}

TEST_CASE("what is no single range of bytes is ignored") {
  for (const char* header : {"", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=5-3", "bytes=a-b", "bytes=1-2,4-5",
                             "lines=1-2", "bytes=+1-2", "bytes=1--2", "Bytes=1-2"})
    CHECK(resolve_range(header, 10).whole);
}

}  // namespace runner::http
