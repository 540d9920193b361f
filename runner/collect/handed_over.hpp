// Files that a script hands over while it runs: io/artifacts/NAME, complete once a record of the metric journal names
// it; of a descendant of the run io/artifacts/.run-ID/NAME. The directory is hostile as outputs are (outputs.hpp), and
// the script may write to it at the same time.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>

#include "runner/collect/metric_record.hpp"
#include "runner/collect/outputs.hpp"
#include "runner/core/content.hpp"
#include "runner/os/fd.hpp"

namespace runner::collect {

// One that begins as those of files that are not complete do, or of descendants' directories.
bool is_unfinished_name(std::string_view name);

// Any thread; one at a time for each directory.
class HandedOverFiles {
 public:
  // A directory that is not there has no files.
  explicit HandedOverFiles(const std::filesystem::path& directory);

  // The file that a record names, in `batch`; a notice where there is none to be had. `spent`: of the run whose journal
  // it is.
  Collected take(const JournalArtifact& file, ContentBatch& batch, Bounds& spent,
                 const std::stop_token& stop = {}) const;
  // Once it is taken: nothing but its name stays. One that has another name, too, stays as it is.
  void empty(const JournalArtifact& file) const;
  // Whatever lies there that `is_taken(run, name)` does not know, by run (empty: the journal's own); unfinished files
  // (.new-…) are no files. Asked with no name: whether all of that run is taken, or none of it is to be.
  using IsTaken = std::function<bool(const std::string& run, const std::string& name)>;
  std::map<std::string, Collected> gather_left(ContentBatch& batch, Bounds& spent, const IsTaken& is_taken,
                                               const std::stop_token& stop = {}) const;

 private:
  os::Fd directory_;
};

}  // namespace runner::collect
