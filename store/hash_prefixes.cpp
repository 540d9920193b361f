#include "store/hash_prefixes.hpp"

#include <cstring>
#include <utility>

namespace runner::store {
namespace {

constexpr std::size_t kFirstPlaces = 1024;

std::uint64_t prefix_of(const Hash& hash) {
  std::uint64_t prefix = 0;
  std::memcpy(&prefix, hash.bytes.data(), sizeof prefix);
  return prefix == 0 ? 1 : prefix;  // 0 marks a free place
}

}  // namespace

std::size_t HashPrefixes::place_of(std::uint64_t prefix) const {
  // A hash is random in all its bits: the low ones choose the place.
  std::size_t place = static_cast<std::size_t>(prefix) & (places_.size() - 1);
  while (places_[place] != 0 && places_[place] != prefix) place = (place + 1) & (places_.size() - 1);
  return place;
}

bool HashPrefixes::insert(const Hash& hash) {
  if (2 * (count_ + 1) > places_.size()) grow();
  const std::uint64_t prefix = prefix_of(hash);
  std::uint64_t& place = places_[place_of(prefix)];
  if (place == prefix) return false;
  place = prefix;
  ++count_;
  return true;
}

bool HashPrefixes::contains(const Hash& hash) const {
  if (places_.empty()) return false;
  return places_[place_of(prefix_of(hash))] != 0;
}

void HashPrefixes::grow() {
  const auto old =
      std::exchange(places_, std::vector<std::uint64_t>(places_.empty() ? kFirstPlaces : 2 * places_.size()));
  for (const std::uint64_t prefix : old)
    if (prefix != 0) places_[place_of(prefix)] = prefix;
}

}  // namespace runner::store
