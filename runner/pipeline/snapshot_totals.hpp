// How much a snapshot holds, with every tree of many snapshots read once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "runner/core/content.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::pipeline {

class SnapshotTotals {
 public:
  // Called for every content that a tree names, trees included.
  using Visit = std::function<void(const Hash& content)>;
  using Tick = std::function<void()>;

  SnapshotTotals(const ContentReader& content, Visit visit, Tick tick)
      : content_(content), visit_(std::move(visit)), tick_(std::move(tick)) {}

  struct Total {
    std::int64_t files = 0;
    std::int64_t bytes = 0;
  };
  Total of(const Hash& tree);
  // Trees that could not be read: what is below them is not known.
  const std::vector<std::string>& unreadable() const { return unreadable_; }

 private:
  const ContentReader& content_;
  const Visit visit_;
  const Tick tick_;
  std::unordered_map<Hash, Total, HashHasher> known_;
  std::vector<std::string> unreadable_;
};

}  // namespace runner::pipeline
