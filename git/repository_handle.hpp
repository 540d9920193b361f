// libgit2 as this folder uses it: owned handles, one place that opens a repository. Private to git/.
#pragma once

#include <git2.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/os/git_files.hpp"
#include "runner/os/git_index.hpp"

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
using Tree = std::unique_ptr<git_tree, Releaser<git_tree_free>>;
using Config = std::unique_ptr<git_config, Releaser<git_config_free>>;
using ConfigIterator = std::unique_ptr<git_config_iterator, Releaser<git_config_iterator_free>>;
using Odb = std::unique_ptr<git_odb, Releaser<git_odb_free>>;
using OdbObject = std::unique_ptr<git_odb_object, Releaser<git_odb_object_free>>;
using FilterList = std::unique_ptr<git_filter_list, Releaser<git_filter_list_free>>;
using Patch = std::unique_ptr<git_patch, Releaser<git_patch_free>>;

// What could not be read; becomes a note. Thrown and caught in this folder only.
struct Unreadable {
  std::string what;
};

// What libgit2 said last on this thread.
std::string last_error();
void check(int result, const std::string& attempted);  // throws Unreadable

os::GitId id_of(const git_oid& id);
git_oid oid_of(const os::GitId& id);
std::string hex_of(const os::GitId& id);

struct OpenRepository {
  Repository handle;
  os::GitFiles files;
  std::filesystem::path root;  // canonical, of the work tree; empty: there is none (bare)

  // The path of a directory of the work tree, "" or "a/b/"; nothing when it lies elsewhere (core.worktree, inside
  // ".git").
  std::optional<std::string> scope_of(const std::filesystem::path& canonical) const;
};

// The repository around `directory` (canonical), as git finds it: the nearest parent with a ".git", on the same file
// system. Nothing with `reason` empty: there is none; nothing with `reason`: it cannot be read.
std::optional<OpenRepository> open_repository(const std::filesystem::path& directory, std::string& reason);
// The one whose work tree starts at `directory`: a submodule. Nothing: there is none, or it cannot be read.
std::optional<OpenRepository> open_submodule(const std::filesystem::path& directory);

struct Head {
  std::optional<std::string> branch;  // "refs/heads/main", also of an unborn one; absent: detached
  std::optional<os::GitId> commit;    // absent: unborn
};
Head read_head(const OpenRepository& repository);

// Objects by id. Nothing is fetched: what a partial clone lacks is absent.
class Objects {
 public:
  explicit Objects(const OpenRepository& repository);

  os::GitId tree_of(const os::GitId& commit) const;  // throws Unreadable
  Tree tree(const os::GitId& id) const;              // throws Unreadable
  // Nothing: it is not here. Throws Unreadable if it is damaged. `limit` bytes; larger: `too_large` is set.
  std::optional<std::string> blob(const os::GitId& id, std::size_t limit, bool& too_large) const;

 private:
  void expect_no_fifo(const os::GitId& id) const;
  void expect_size(const os::GitId& id, std::size_t limit) const;

  const OpenRepository& repository_;
  Odb odb_;
};

}  // namespace runner::git
