#include "git/git_state.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "git/changes.hpp"
#include "git/patch.hpp"
#include "git/quoted_path.hpp"
#include "git/remote_url.hpp"
#include "git/repository_handle.hpp"
#include "runner/core/error.hpp"

namespace runner::git {
namespace {

namespace fs = std::filesystem;

std::string short_name(const std::string& reference) {
  const std::string prefix = "refs/heads/";
  return reference.starts_with(prefix) ? reference.substr(prefix.size()) : reference;
}

std::string untracked_text(const UntrackedFiles& untracked) {
  std::string text;
  for (const std::string& path : untracked.paths) text += quoted_path(path) + "\n";
  if (untracked.more > 0) text += "\nand " + std::to_string(untracked.more) + " more\n";
  return text;
}

void note_what_is_missing(const RenderedPatch& patch, const UntrackedFiles& untracked,
                          std::vector<std::string>& notes) {
  if (!patch.left_out.empty()) {
    const auto& largest = *std::max_element(patch.left_out.begin(), patch.left_out.end(),
                                            [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
    const std::size_t others = patch.left_out.size() - 1;
    notes.push_back("git: git/diff.patch leaves out " + quoted_path(largest.path) + " (" + largest.why + ")" +
                    (others == 0 ? "; the snapshot has it"
                                 : " and " + std::to_string(others) + " more changed files; the snapshot has them"));
  }
  if (untracked.more > 0)
    notes.push_back("git: " + std::to_string(untracked.paths.size() + static_cast<std::size_t>(untracked.more)) +
                    " untracked files; git/untracked.txt lists the first " + std::to_string(untracked.paths.size()));
}

// Reads with `untracked.list` absent: the state only.
Source read(const OpenRepository& repository, const fs::path& directory, const std::string& scope,
            const Untracked& untracked, std::size_t patch_limit, std::vector<std::string>& notes) {
  Source source;
  const Head head = read_head(repository);
  const Objects objects(repository);
  WorkFiles files(repository);
  std::optional<os::GitId> tree;
  if (head.branch) source.state.branch = short_name(*head.branch);
  if (head.commit) {
    source.state.commit = hex_of(*head.commit);
    tree = objects.tree_of(*head.commit);
  }
  if (const auto url = remote_url(repository.handle.get(), source.state.branch))
    source.state.repository_uri = strip_credentials(*url);
  const Changes found = find_changes(repository, objects, files, tree, scope, untracked.has);
  source.state.dirty = found.dirty;
  if (!untracked.list) {
    source.state.dirty = source.state.dirty || (untracked.has && untracked.has(directory));
    return source;
  }
  const UntrackedFiles listed = untracked.list(directory);
  source.state.dirty |= !listed.paths.empty();
  source.untracked = untracked_text(listed);
  RenderedPatch patch = render_patch(objects, files, found.changes, patch_limit);
  source.patch = std::move(patch.text);
  note_what_is_missing(patch, listed, notes);
  return source;
}

}  // namespace

std::optional<Source> read_source(const fs::path& directory, std::vector<std::string>& notes,
                                  const Untracked& untracked, std::size_t patch_limit) {
  std::error_code error;
  const fs::path canonical = fs::canonical(directory, error);
  if (error || !may_have_repository(canonical)) return std::nullopt;
  std::string reason;
  const auto repository = open_repository(canonical, reason);
  if (!repository) {
    if (!reason.empty()) notes.push_back("git: the repository cannot be read: " + reason);
    return std::nullopt;
  }
  const auto scope = repository->scope_of(canonical);
  if (!scope) {
    notes.push_back("git: the source directory is in a repository but in no work tree of it (bare, or inside .git)");
    return std::nullopt;
  }
  try {
    return read(*repository, canonical, *scope, untracked, patch_limit, notes);
  } catch (const Unreadable& unreadable) {
    notes.push_back("git: the repository cannot be read: " + unreadable.what);
  } catch (const Error& trouble) {  // a damaged index, a directory that went away
    notes.push_back("git: the repository cannot be read: " + trouble.message());
  }
  return std::nullopt;
}

std::optional<GitState> read_state(const fs::path& directory, std::vector<std::string>& notes,
                                   const HasUntracked& has_untracked) {
  auto source = read_source(directory, notes, {.has = has_untracked, .list = {}}, 0);
  if (!source) return std::nullopt;
  return std::move(source->state);
}

}  // namespace runner::git
