// Which of the deleted files became which of the added ones. Private to this folder.
#pragma once

#include <vector>

#include "snapshot/code_diff.hpp"

namespace runner::snapshot {

// Replaces pairs of deleted and added files by renamed ones: those of equal content, then, as git does, the most
// similar ones, half of their lines at least. Similarity is looked for among small files only, and not among too many:
// it costs their product.
void find_renames(const ContentReader& store, std::vector<FileChange>& changes);

}  // namespace runner::snapshot
