// libgit2 as this folder uses it: owned handles, one place that opens a repository. Private to git/.
#pragma once

#include <git2.h>

#include <filesystem>
#include <memory>
#include <string>

namespace runner::git {

template <auto release>
struct Releaser {
  template <typename T>
  void operator()(T* handle) const {
    release(handle);
  }
};
using Repository = std::unique_ptr<git_repository, Releaser<git_repository_free>>;
using Reference = std::unique_ptr<git_reference, Releaser<git_reference_free>>;
using Commit = std::unique_ptr<git_commit, Releaser<git_commit_free>>;
using Config = std::unique_ptr<git_config, Releaser<git_config_free>>;
using ConfigIterator = std::unique_ptr<git_config_iterator, Releaser<git_config_iterator_free>>;
using StatusList = std::unique_ptr<git_status_list, Releaser<git_status_list_free>>;

// What libgit2 said last on this thread.
std::string last_error();

// Is there anything like a repository at or above `directory` on its file system? A few stats; spares everybody outside
// one the start of libgit2.
bool may_have_repository(const std::filesystem::path& directory);

// The repository around `directory`; null with `reason` empty: there is none; null with `reason`: it cannot be read.
Repository open_repository(const std::filesystem::path& directory, std::string& reason);

}  // namespace runner::git
