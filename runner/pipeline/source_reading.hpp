// The git state of a source directory, read beside its snapshot: the two do not know each other, and there are two
// cores.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "git/git_state.hpp"
#include "runner/core/content.hpp"
#include "runner/core/run.hpp"

namespace runner::pipeline {

inline constexpr std::string_view kPatchName = "git/diff.patch";
inline constexpr std::string_view kUntrackedName = "git/untracked.txt";

// Starts in the constructor (a thread "git-state", only where there may be a repository); the destructor waits for it.
class SourceReading {
 public:
  explicit SourceReading(const std::filesystem::path& directory);

  // Once. What was found, with its notes appended. Never throws for what the repository holds.
  std::optional<git::Source> finish(std::vector<std::string>& notes);

 private:
  std::filesystem::path directory_;
  std::optional<git::Source> source_;
  std::vector<std::string> notes_;
  std::jthread thread_;  // last: it uses what is above
};

// The uncommitted change as artifacts of a run, their contents durably in the store. Error(kNoSpace).
std::vector<Artifact> store_change(const git::Source& source, ContentWriter& content);

}  // namespace runner::pipeline
