#include "git/repository_handle.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <system_error>
#include <utility>

#include "git/git_state.hpp"

namespace runner::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTreeLimit = std::size_t{64} << 20;   // bytes; a directory of a million files has 40 MB
constexpr std::size_t kCommitLimit = std::size_t{4} << 20;  // bytes
constexpr int kReferenceDepth = 10;                         // of references to references; git stops at 5

bool is_there(const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_bare_layout(const fs::path& path) {
  return is_there(path / "HEAD") && is_there(path / "objects") && is_there(path / "refs");
}

// git refuses a repository that belongs to someone else because its configuration can name programs to run. Nothing is
// run here, so it is read like any other; GIT_DIR and its like are not looked at because FROM_ENV is not set.
// The extensions: what a partial clone lacks is absent, the work tree's own configuration is read below, and nothing is
// written that would lose a precious object.
void ensure_libgit2() {
  static const int initialised = [] {
    const int count = git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    std::array<const char*, 4> extensions{"partialclone", "worktreeconfig", "preciousobjects", "relativeworktrees"};
    git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions.data(), extensions.size());
    return count;
  }();
  static_cast<void>(initialised);
}

// libgit2 1.5 does not know config.worktree.
void add_worktree_configuration(OpenRepository& opened) {
  git_config* raw = nullptr;
  if (git_repository_config(&raw, opened.handle.get()) != 0) return;
  const Config config(raw);
  int enabled = 0;
  if (git_config_get_bool(&enabled, config.get(), "extensions.worktreeconfig") != 0 || enabled == 0) return;
  const fs::path file = opened.files.directory / "config.worktree";
  if (!is_there(file)) return;
  check(git_config_add_file_ondisk(config.get(), file.c_str(), GIT_CONFIG_LEVEL_APP, opened.handle.get(), 0),
        "config.worktree");
}

// Null with `reason` empty: `path` is no repository (or git would pass over it).
std::optional<OpenRepository> open_at(const fs::path& dot_git, const fs::path& path, std::string& reason) {
  ensure_libgit2();
  OpenRepository opened{.handle = nullptr, .files = os::inspect_git_files(dot_git), .root = {}};
  reason = opened.files.trouble;
  if (opened.files.directory.empty() || !reason.empty()) return std::nullopt;
  git_repository* raw = nullptr;
  const int result = git_repository_open_ext(&raw, path.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (result != 0) {
    if (result != GIT_ENOTFOUND || is_bare_layout(opened.files.directory)) reason = last_error();
    return std::nullopt;
  }
  opened.handle.reset(raw);
  if (const char* work_directory = git_repository_workdir(raw)) {
    std::error_code error;
    opened.root = fs::canonical(work_directory, error);
    if (error) opened.root.clear();
  }
  try {
    add_worktree_configuration(opened);
  } catch (const Unreadable& unreadable) {
    reason = unreadable.what;
    return std::nullopt;
  }
  return opened;
}

// A reference's file, or the branch in a linked work tree's common directory, is no FIFO.
void expect_readable_reference(const OpenRepository& repository, const std::string& name) {
  std::string trouble;
  for (const fs::path& directory : {repository.files.directory, repository.files.common})
    if (!os::is_readable_to_its_end(directory / name, trouble)) throw Unreadable{trouble};
}

}  // namespace

void start() { ensure_libgit2(); }

std::string last_error() {
  const git_error* error = git_error_last();
  return error != nullptr && error->message != nullptr ? error->message : "unknown error";
}

void check(int result, const std::string& attempted) {
  if (result < 0) throw Unreadable{attempted + ": " + last_error()};
}

os::GitId id_of(const git_oid& id) {
  os::GitId copy;
  std::memcpy(copy.data(), id.id, copy.size());
  return copy;
}

git_oid oid_of(const os::GitId& id) {
  git_oid oid;
  std::memcpy(oid.id, id.data(), id.size());
  return oid;
}

std::string hex_of(const os::GitId& id) {
  const git_oid oid = oid_of(id);
  std::string text(GIT_OID_HEXSZ + 1, '\0');
  git_oid_tostr(text.data(), text.size(), &oid);
  text.pop_back();
  return text;
}

std::optional<std::string> OpenRepository::scope_of(const fs::path& canonical) const {
  if (root.empty()) return std::nullopt;
  if (canonical == root) return "";
  const std::string base = root == "/" ? "/" : root.string() + "/";
  if (!canonical.string().starts_with(base)) return std::nullopt;
  std::string scope = canonical.string().substr(base.size()) + "/";
  if (scope.starts_with(".git/")) return std::nullopt;
  return scope;
}

bool may_have_repository(const fs::path& directory) {
  struct ::stat start {};
  if (::stat(directory.c_str(), &start) != 0) return false;
  for (fs::path at = directory;; at = at.parent_path()) {
    struct ::stat info {};
    if (::stat(at.c_str(), &info) != 0 || info.st_dev != start.st_dev) return false;
    if (is_there(at / ".git") || is_bare_layout(at)) return true;
    if (at == at.root_path()) return false;
  }
}

std::optional<OpenRepository> open_repository(const fs::path& directory, std::string& reason) {
  struct ::stat start {};
  if (::stat(directory.c_str(), &start) != 0) return std::nullopt;
  for (fs::path at = directory;; at = at.parent_path()) {
    struct ::stat info {};
    if (::stat(at.c_str(), &info) != 0 || info.st_dev != start.st_dev) return std::nullopt;
    if (is_there(at / ".git")) {
      auto opened = open_at(at / ".git", at, reason);
      if (opened || !reason.empty()) return opened;
    }
    if (is_bare_layout(at)) {
      auto opened = open_at(at, at, reason);
      if (opened || !reason.empty()) return opened;
    }
    if (at == at.root_path()) return std::nullopt;
  }
}

std::optional<OpenRepository> open_submodule(const fs::path& directory) {
  if (!is_there(directory / ".git")) return std::nullopt;
  std::string ignored;
  auto opened = open_at(directory / ".git", directory, ignored);
  if (opened && opened->root.empty()) return std::nullopt;
  return opened;
}

Head read_head(const OpenRepository& repository) {
  Head head;
  std::string name = "HEAD";
  for (int depth = 0; depth < kReferenceDepth; ++depth) {
    expect_readable_reference(repository, name);
    git_reference* raw = nullptr;
    const int result = git_reference_lookup(&raw, repository.handle.get(), name.c_str());
    if (result == GIT_ENOTFOUND && depth > 0) return head;  // unborn
    check(result, name);
    const Reference reference(raw);
    if (const git_oid* id = git_reference_target(reference.get())) {
      head.commit = id_of(*id);
      return head;
    }
    name = git_reference_symbolic_target(reference.get());
    if (depth == 0) head.branch = name;
  }
  throw Unreadable{"HEAD refers to nothing but references"};
}

Objects::Objects(const OpenRepository& repository) : repository_(repository) {
  git_odb* raw = nullptr;
  check(git_repository_odb(&raw, repository.handle.get()), "its objects");
  odb_.reset(raw);
}

void Objects::expect_no_fifo(const os::GitId& id) const {
  const std::string name = hex_of(id);
  std::string trouble;
  for (const fs::path& directory : repository_.files.object_directories)
    if (!os::is_readable_to_its_end(directory / name.substr(0, 2) / name.substr(2), trouble, std::int64_t{1} << 40))
      throw Unreadable{trouble};
}

void Objects::expect_size(const os::GitId& id, std::size_t limit) const {
  expect_no_fifo(id);
  const git_oid oid = oid_of(id);
  std::size_t size = 0;
  git_object_t type{};
  check(git_odb_read_header(&size, &type, odb_.get(), &oid), "object " + hex_of(id));
  if (size > limit) throw Unreadable{"object " + hex_of(id) + " has " + std::to_string(size) + " bytes"};
}

os::GitId Objects::tree_of(const os::GitId& id) const {
  expect_size(id, kCommitLimit);
  const git_oid oid = oid_of(id);
  git_commit* raw = nullptr;
  check(git_commit_lookup(&raw, repository_.handle.get(), &oid), "HEAD's commit");
  const Commit commit(raw);
  const os::GitId tree = id_of(*git_commit_tree_id(commit.get()));
  expect_size(tree, kTreeLimit);  // a commit without its tree is a damaged repository, whatever the index knows
  return tree;
}

Tree Objects::tree(const os::GitId& id) const {
  expect_size(id, kTreeLimit);
  const git_oid oid = oid_of(id);
  git_tree* raw = nullptr;
  check(git_tree_lookup(&raw, repository_.handle.get(), &oid), "tree " + hex_of(id));
  return Tree(raw);
}

std::optional<std::string> Objects::blob(const os::GitId& id, std::size_t limit, bool& too_large) const {
  expect_no_fifo(id);
  const git_oid oid = oid_of(id);
  std::size_t size = 0;
  git_object_t type{};
  int result = git_odb_read_header(&size, &type, odb_.get(), &oid);
  if (result == GIT_ENOTFOUND) return std::nullopt;
  check(result, "object " + hex_of(id));
  too_large = size > limit;
  if (too_large) return std::nullopt;
  git_odb_object* raw = nullptr;
  result = git_odb_read(&raw, odb_.get(), &oid);
  if (result == GIT_ENOTFOUND) return std::nullopt;
  check(result, "object " + hex_of(id));
  const OdbObject object(raw);
  return std::string(static_cast<const char*>(git_odb_object_data(object.get())), git_odb_object_size(object.get()));
}

}  // namespace runner::git
