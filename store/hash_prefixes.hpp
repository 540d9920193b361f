// A set of hashes in 8 to 32 bytes each: only the first 64 bits are kept. It may therefore answer "yes" for a hash that
// was never inserted (by chance once in 10^12 questions with ten million members), never "no" for one that was. For
// deciding what must stay. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::store {

class HashPrefixes {
 public:
  bool insert(const Hash& hash);  // false: it was there already
  bool contains(const Hash& hash) const;

 private:
  std::size_t place_of(std::uint64_t prefix) const;  // where it is, or where it would go
  void grow();

  std::vector<std::uint64_t> places_;  // open addressing, a power of two; 0: free
  std::size_t count_ = 0;
};

}  // namespace runner::store
