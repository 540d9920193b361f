// What lies in the data directory beside the databases, compared with their rows: run directories and the records in
// them, built environments, records of checkouts. Reads only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runner/os/data_directory.hpp"
#include "store/environments.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

struct DirectoryProblem {
  std::string text;               // one line naming the file or directory
  std::vector<std::string> runs;  // at most one
};

class DirectoryCheck {
 public:
  using Tick = std::function<void()>;

  DirectoryCheck(const store::History& history, const os::DataDirectory& data, Tick tick)
      : history_(history), data_(data), tick_(std::move(tick)) {}

  // Runs start and end meanwhile: a row is asked again before anything is said of it.
  std::vector<DirectoryProblem> runs() const;
  // Rows of builds whose directory is gone: they may be forgotten, the environment is built again when it is needed.
  std::vector<store::EnvironmentBuild> lost_builds(const store::Environments& environments) const;
  // Checkouts that no daemon would find again: the names of their directories.
  std::vector<std::string> broken_checkouts() const;

 private:
  void check_directory(const std::string& name, std::vector<DirectoryProblem>& problems) const;
  void check_records(const RunRecord& run, std::vector<DirectoryProblem>& problems) const;

  const store::History& history_;
  const os::DataDirectory& data_;
  const Tick tick_;
};

}  // namespace runner::pipeline
