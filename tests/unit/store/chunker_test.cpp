#include "store/chunker.hpp"

#include <vector>

#include "fixture.hpp"

using namespace runner::store;
using namespace store_test;

namespace {

std::vector<std::size_t> lengths(std::string_view bytes) {
  std::vector<std::size_t> found;
  for (auto rest = bytes_of(bytes); !rest.empty(); rest = rest.subspan(found.back()))
    found.push_back(first_chunk(rest));
  return found;
}

}  // namespace

TEST_CASE("Chunks keep their limits and are about a mebibyte long") {
  const std::string bytes = random_bytes(64U << 20, 42);
  const auto found = lengths(bytes);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i + 1 < found.size()) CHECK(found[i] >= kMinChunk);
    CHECK(found[i] <= kMaxChunk);
    sum += found[i];
  }
  CHECK(sum == bytes.size());
  const double average = static_cast<double>(sum) / static_cast<double>(found.size());
  CHECK(average > 0.8 * static_cast<double>(kNormalChunk));
  CHECK(average < 1.4 * static_cast<double>(kNormalChunk));
}

TEST_CASE("A cut depends on nothing behind the largest chunk") {
  const std::string bytes = random_bytes(6U << 20, 1);
  const auto all = bytes_of(bytes);
  CHECK(first_chunk(all) == first_chunk(all.first(kMaxChunk)));
}

TEST_CASE("Bytes without any structure are cut at the largest chunk") {
  CHECK(lengths(std::string(5U << 20, '\0')) == std::vector<std::size_t>{kMaxChunk, kMaxChunk, 1U << 20});
}

// Facts of the disk format: if this fails, nothing stored before shares chunks with what is stored from now on.
TEST_CASE("The cuts of a known content never change") {
  CHECK(lengths(random_bytes(4U << 20, 2024)) == std::vector<std::size_t>{1'334'010, 1'149'826, 1'635'461, 75'007});
}
