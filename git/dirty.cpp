#include "git/dirty.hpp"

namespace runner::git {

std::optional<bool> is_dirty(git_repository* repository, const std::string& scope, Untracked untracked) {
  git_status_options options{};
  git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
  options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
  options.flags = GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;  // the scope is a path, not a pattern
  if (untracked == Untracked::kCount) options.flags |= GIT_STATUS_OPT_INCLUDE_UNTRACKED;
  std::string path = scope;
  if (path.ends_with('/')) path.pop_back();
  char* paths[] = {path.data()};
  if (!path.empty()) options.pathspec = {.strings = paths, .count = 1};
  git_status_list* raw = nullptr;
  if (git_status_list_new(&raw, repository, &options) != 0) return std::nullopt;
  const StatusList list(raw);
  return git_status_list_entrycount(list.get()) > 0;
}

}  // namespace runner::git
