#include "git/git_state.hpp"

#include <system_error>
#include <utility>

#include "git/dirty.hpp"
#include "git/remote_url.hpp"
#include "git/repository_handle.hpp"

namespace runner::git {
namespace {

namespace fs = std::filesystem;

// What could not be read; becomes a note. Thrown and caught in this file only.
struct Unreadable {
  std::string what;
};

void check(int result, const char* attempted) {
  if (result < 0) throw Unreadable{std::string(attempted) + ": " + last_error()};
}

// The branch, also an unborn one; nothing when HEAD is detached.
std::optional<std::string> branch_reference(git_repository* repository) {
  git_reference* raw = nullptr;
  check(git_reference_lookup(&raw, repository, "HEAD"), "HEAD");
  const Reference head(raw);
  const char* target = git_reference_symbolic_target(head.get());
  if (target == nullptr) return std::nullopt;
  return target;
}

std::string short_name(const std::string& reference) {
  const std::string prefix = "refs/heads/";
  return reference.starts_with(prefix) ? reference.substr(prefix.size()) : reference;
}

std::optional<std::string> head_commit(git_repository* repository) {
  git_oid id{};
  const int result = git_reference_name_to_id(&id, repository, "HEAD");
  if (result == GIT_ENOTFOUND) return std::nullopt;  // unborn
  check(result, "HEAD's commit");
  // libgit2's status takes a commit that is not there for none at all.
  git_commit* raw_commit = nullptr;
  check(git_commit_lookup(&raw_commit, repository, &id), "HEAD's commit");
  const Commit commit(raw_commit);
  git_tree* tree = nullptr;
  check(git_commit_tree(&tree, commit.get()), "HEAD's tree");
  git_tree_free(tree);
  std::string text(GIT_OID_HEXSZ + 1, '\0');
  git_oid_tostr(text.data(), text.size(), &id);
  text.pop_back();
  return text;
}

// The source directory below the work tree, "" or "a/b/"; nothing when it lies elsewhere (core.worktree, inside
// ".git").
std::optional<std::string> scope_of(git_repository* repository, const fs::path& directory) {
  const char* work_directory = git_repository_workdir(repository);
  if (work_directory == nullptr) return std::nullopt;
  std::error_code error;
  const fs::path root = fs::canonical(work_directory, error);
  if (error) return std::nullopt;
  if (directory == root) return "";
  const std::string base = root == "/" ? "/" : root.string() + "/";
  if (!directory.string().starts_with(base)) return std::nullopt;
  std::string scope = directory.string().substr(base.size()) + "/";
  if (scope.starts_with(".git/")) return std::nullopt;
  return scope;
}

GitState read(git_repository* repository, const fs::path& directory, const std::string& scope,
              const HasUntracked& has_untracked) {
  GitState state;
  const auto reference = branch_reference(repository);
  if (reference) state.branch = short_name(*reference);
  state.commit = head_commit(repository);
  if (const auto url = remote_url(repository, state.branch)) state.repository_uri = strip_credentials(*url);
  const auto dirty = is_dirty(repository, scope, has_untracked ? Untracked::kSkip : Untracked::kCount);
  if (!dirty) throw Unreadable{"its state: " + last_error()};
  state.dirty = *dirty || (has_untracked && has_untracked(directory));
  return state;
}

}  // namespace

std::optional<GitState> read_state(const fs::path& directory, std::vector<std::string>& notes,
                                   const HasUntracked& has_untracked) {
  std::error_code error;
  const fs::path canonical = fs::canonical(directory, error);
  if (error || !may_have_repository(canonical)) return std::nullopt;
  std::string reason;
  const Repository repository = open_repository(canonical, reason);
  if (!repository) {
    if (!reason.empty()) notes.push_back("git: the repository cannot be read: " + reason);
    return std::nullopt;
  }
  const auto scope = scope_of(repository.get(), canonical);
  if (!scope) {
    notes.push_back("git: the source directory is in a repository but in no work tree of it (bare, or inside .git)");
    return std::nullopt;
  }
  try {
    return read(repository.get(), canonical, *scope, has_untracked);
  } catch (const Unreadable& unreadable) {
    notes.push_back("git: the repository cannot be read: " + unreadable.what);
    return std::nullopt;
  }
}

}  // namespace runner::git
