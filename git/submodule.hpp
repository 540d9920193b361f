// Submodules as `git status` of the superproject sees them. Private to git/.
#pragma once

#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "git/git_state.hpp"
#include "git/repository_handle.hpp"

namespace runner::git {

struct Change;

class Submodules {
 public:
  // `depth`: submodules around this repository.
  Submodules(const OpenRepository& repository, const HasUntracked& untracked, int depth)
      : repository_(repository), untracked_(untracked), depth_(depth) {}

  // Whether the submodule differs from the commit in the index; `change` gets what is there now. `info`: its lstat.
  bool compare(const os::GitIndexEntry& entry, std::string_view path, const std::optional<struct ::stat>& info,
               Change& change);

 private:
  // submodule.NAME.ignore
  enum class Ignore { kNone, kUntracked, kDirty, kAll };
  Ignore ignore_of(std::string_view path);
  void read_ignores();
  bool has_changes(const OpenRepository& submodule, Ignore ignore);

  const OpenRepository& repository_;
  const HasUntracked& untracked_;
  const int depth_;
  bool ignores_read_ = false;
  std::map<std::string, Ignore, std::less<>> ignores_;  // by path; absent: the general setting
  Ignore general_ = Ignore::kNone;
};

}  // namespace runner::git
