// What distinguishes two snapshots: a walk over both trees that opens only the directories that differ, for equal ones
// have equal hashes. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "snapshot/tree_object.hpp"

namespace runner::snapshot {

// An entry that is on one side only, or on both with another type, content or executable bit.
struct TreeChange {
  std::string path;  // relative to the root, bytes
  std::optional<TreeEntry> before;
  std::optional<TreeEntry> after;
};

// Calls `visit` for each change, depth first in bytewise order of names, a directory before what is in it; false stops.
// A directory on both sides is no change of itself, only what differs in it is reported. One that is on one side only
// (or that is something else on the other) is a change, and so is everything in it, with that side alone filled in.
// Error(kNotFound) if a tree that has to be opened is not in the store, Error(kInternal) if it is damaged.
void diff_trees(const ContentReader& store, const Hash& before, const Hash& after,
                const std::function<bool(const TreeChange&)>& visit);

// The same, and the visitor decides whether a directory that is on one side only is opened.
enum class Walk { kInto, kPast, kStop };
void walk_difference(const ContentReader& store, const Hash& before, const Hash& after,
                     const std::function<Walk(const TreeChange&)>& visit);

}  // namespace runner::snapshot
