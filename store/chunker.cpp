#include "store/chunker.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace runner::store {
namespace {

// A cut lies where this many top bits of the gear hash are zero: once in 4 MiB before kNormalChunk, once in 256 KiB
// behind it (normalized chunking, level 2). The lengths gather around 1.1 MiB; about one in fifty reaches kMaxChunk.
constexpr unsigned kBitsBeforeNormal = 22;
constexpr unsigned kBitsBehindNormal = 18;
constexpr std::size_t kWindow = 64;  // bytes that the hash depends on: one bit of it is shifted out per byte

// splitmix64 from a fixed seed: 256 numbers without structure.
constexpr std::array<std::uint64_t, 256> make_gear() {
  std::array<std::uint64_t, 256> gear{};
  std::uint64_t state = 0x72756e6e65722d31;  // "runner-1"
  for (std::uint64_t& value : gear) {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    value = mixed ^ (mixed >> 31);
  }
  return gear;
}
constexpr std::array<std::uint64_t, 256> kGear = make_gear();

struct Scan {
  std::uint64_t hash;
  std::size_t position;
  bool cut;
};

Scan scan(std::span<const std::byte> data, Scan from, std::size_t end, unsigned bits) {
  std::uint64_t hash = from.hash;
  const std::uint64_t limit = std::uint64_t{1} << (64 - bits);
  for (std::size_t i = from.position; i < end; ++i) {
    hash = (hash << 1) + kGear[std::to_integer<std::size_t>(data[i])];
    if (hash < limit) return {hash, i + 1, true};
  }
  return {hash, end, false};
}

}  // namespace

std::size_t first_chunk(std::span<const std::byte> data) {
  const std::size_t end = std::min(data.size(), kMaxChunk);
  if (end <= kMinChunk) return end;
  Scan state{0, kMinChunk - kWindow, false};
  for (; state.position < kMinChunk; ++state.position)  // the first hash that may cut depends on kWindow bytes too
    state.hash = (state.hash << 1) + kGear[std::to_integer<std::size_t>(data[state.position])];
  state = scan(data, state, std::min(end, kNormalChunk), kBitsBeforeNormal);
  if (!state.cut) state = scan(data, state, end, kBitsBehindNormal);
  return state.position;
}

}  // namespace runner::store
