// Verifying content.db for `fsck`: the file as SQLite sees it, then every content. Reads in short slices while others
// store, find and free: what vanishes meanwhile is no problem, and what appears may be missed. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runner/core/content.hpp"
#include "store/database.hpp"
#include "store/digest.hpp"

namespace runner::store {

class ContentCheck {
 public:
  using Tick = std::function<void()>;  // called every few milliseconds of work; what it throws ends the check

  ContentCheck(const ContentReader& reader, const Database& database, Tick tick)
      : reader_(reader), database_(database), tick_(std::move(tick)) {}

  std::vector<std::string> file() const;  // one line a problem; blocks for as long as SQLite reads the whole file

  struct Progress {
    std::int64_t contents = 0;
    std::int64_t bytes = 0;
  };
  // Reads every content and compares it with its name, one of several pieces also as a whole. Calls `damaged` with what
  // is not as it was stored and why.
  Progress contents(const std::function<void(const Hash& hash, const std::string& why)>& damaged) const;
  // Of these, which are pieces of which larger content.
  std::vector<std::pair<Hash, Hash>> owners_of(const std::unordered_set<Hash, HashHasher>& pieces) const;

 private:
  std::optional<std::string> problem_of(const Hash& hash, bool large) const;

  const ContentReader& reader_;
  const Database& database_;
  const Tick tick_;
  const Sha256 sha256_;
};

}  // namespace runner::store
