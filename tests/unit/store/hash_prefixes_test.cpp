#include "store/hash_prefixes.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace runner;
using namespace runner::store;

TEST_CASE("A set of prefixes says yes to every member and, as good as always, no to everything else") {
  std::mt19937_64 generator(1);
  const auto random_hash = [&] {
    Hash hash;
    for (auto& byte : hash.bytes) byte = static_cast<std::uint8_t>(generator());
    return hash;
  };
  HashPrefixes set;
  CHECK_FALSE(set.contains(random_hash()));
  std::vector<Hash> members;
  for (int i = 0; i < 50'000; ++i) {
    members.push_back(random_hash());
    REQUIRE(set.insert(members.back()));
  }
  int missing = 0;
  for (const Hash& member : members) missing += !set.contains(member) || set.insert(member);
  CHECK(missing == 0);
  int wrong = 0;
  for (int i = 0; i < 50'000; ++i) wrong += set.contains(random_hash());
  CHECK(wrong == 0);
}

TEST_CASE("Hashes of zeros, of equal low bits and of equal prefixes are members like others") {
  HashPrefixes set;
  CHECK(set.insert(Hash{}));
  CHECK(set.contains(Hash{}));
  Hash other;
  other.bytes[31] = 1;
  CHECK(set.contains(other));  // told apart by nothing that is kept: it stays, too
  for (int i = 1; i < 256; ++i) {
    Hash hash;
    hash.bytes[7] = static_cast<std::uint8_t>(i);  // all want the same place
    CHECK(set.insert(hash));
  }
  for (int i = 1; i < 256; ++i) {
    Hash hash;
    hash.bytes[7] = static_cast<std::uint8_t>(i);
    CHECK(set.contains(hash));
  }
}
