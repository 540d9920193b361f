// How much a snapshot would copy, and where most of it lies: for the warning that comes before the copying.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "snapshot/snapshot.hpp"
#include "snapshot/stat_cache.hpp"

namespace runner::snapshot {

struct LargeTree {
  struct Directory {
    std::string path;  // "a/b/"
    std::int64_t files = 0;
    std::int64_t bytes = 0;
  };
  std::int64_t files = 0;  // that the stat cache does not know
  std::int64_t bytes = 0;
  std::vector<Directory> biggest;  // at most three, none inside another
  std::string ignore_name;         // of the ignore file that counts here
};

// A walk of its own, which reads nothing. Throws what `take` throws for a tree that cannot be walked.
LargeTree measure_new(const Options& options, const StatCache& cache);

// One line for people, with the line that would leave the biggest directory out.
std::string large_warning(const LargeTree& tree);

// From the files of each directory (without those below it) to the few directories worth naming: as deep as most of it
// goes. `whole.path` is "".
std::vector<LargeTree::Directory> biggest_directories(std::vector<LargeTree::Directory> own,
                                                      const LargeTree::Directory& limits);

}  // namespace runner::snapshot
