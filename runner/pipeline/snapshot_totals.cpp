#include "runner/pipeline/snapshot_totals.hpp"

#include "runner/core/error.hpp"

namespace runner::pipeline {

SnapshotTotals::Total SnapshotTotals::of(const Hash& tree) {
  if (const auto found = known_.find(tree); found != known_.end()) return found->second;
  tick_();
  Total total;
  try {
    for (const snapshot::TreeEntry& entry : snapshot::decode_tree(content_.read_all(tree))) {
      visit_(entry.content);
      if (entry.type == snapshot::EntryType::kDirectory) {
        const Total below = of(entry.content);
        total.files += below.files;
        total.bytes += below.bytes;
      } else {
        ++total.files;
        total.bytes += entry.bytes;
      }
    }
  } catch (const Error& error) {  // an adapter's: a damaged tree is a fact, not the end
    if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
    unreadable_.push_back(error.message());
  }
  known_.emplace(tree, total);
  return total;
}

}  // namespace runner::pipeline
