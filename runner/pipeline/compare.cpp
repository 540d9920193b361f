// What differs between the code of two runs.
#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "snapshot/code_diff.hpp"

namespace runner::pipeline {

std::vector<snapshot::FileChange> Pipeline::code_changes(const std::string& before, const std::string& after) const {
  const Hash old_snapshot = snapshot_of(before);
  const Hash new_snapshot = snapshot_of(after);
  auto changes = snapshot::changed_files(content_, old_snapshot, new_snapshot);
  // Said now, while there can still be an error: the patch is streamed.
  for (const snapshot::FileChange& change : changes)
    for (const auto& [side, run] : {std::pair{&change.before, &before}, std::pair{&change.after, &after}})
      if (*side && !content_.contains((*side)->content))
        throw Error(ErrorCode::kInternal,
                    "the snapshot of run " + *run + ": " +
                        (run == &before && !change.old_path.empty() ? change.old_path : change.path) +
                        ": its content is missing",
                    "'runner fsck' tells what else is damaged");
  return changes;
}

}  // namespace runner::pipeline
