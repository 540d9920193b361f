#include "snapshot/work_tree.hpp"

#include <git2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/git_files.hpp"
#include "runner/os/git_index.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

template <auto release>
struct Releaser {
  template <typename T>
  void operator()(T* handle) const {
    release(handle);
  }
};
using Repository = std::unique_ptr<git_repository, Releaser<git_repository_free>>;
using Config = std::unique_ptr<git_config, Releaser<git_config_free>>;

// git refuses a repository of another owner because its configuration could name programs to run. Nothing is run here,
// so such a repository is read like any other.
void ensure_libgit2() {
  static const int initialised = [] {
    const int count = git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    // Partial clones and sparse checkouts are read like any other. The options are global and not made for several
    // threads: where git/ has been at it (the daemon's start), they are set already.
    git_strarray known{};
    git_libgit2_opts(GIT_OPT_GET_EXTENSIONS, &known);
    const bool set = std::any_of(known.strings, known.strings + known.count,
                                 [](const char* name) { return std::string_view(name) == "partialclone"; });
    git_strarray_dispose(&known);
    std::array<const char*, 4> extensions{"partialclone", "worktreeconfig", "preciousobjects", "relativeworktrees"};
    if (!set) git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions.data(), extensions.size());
    return count;
  }();
  static_cast<void>(initialised);
}

std::string last_error() {
  const git_error* error = git_error_last();
  return error != nullptr && error->message != nullptr ? error->message : "unknown error";
}

bool is_there(const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; }

// git's own test is a little stricter; this one only decides whether a directory that libgit2 refuses is a repository
// of a kind it does not know (SHA-256 objects, say) or no repository at all.
bool looks_like_repository(const fs::path& dot_git) {
  struct ::stat info {};
  if (::stat(dot_git.c_str(), &info) != 0) return false;
  if (S_ISREG(info.st_mode)) return false;
  return is_there(dot_git / "HEAD") && is_there(dot_git / "objects") && is_there(dot_git / "refs");
}

std::string home_directory(const std::string& user) {
  if (user.empty()) {
    const char* home =
        std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe): the environment is not changed after start
    return home != nullptr ? home : "";
  }
  std::vector<char> buffer(16384);
  ::passwd entry{};
  ::passwd* found = nullptr;
  if (::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return "";
  return found->pw_dir;
}

// "~/x" and "~user/x"; a relative path is relative to the work tree.
fs::path expand_path(const std::string& value, const fs::path& root) {
  if (value.empty()) return {};
  if (value[0] != '~') return root / value;
  const std::size_t slash = std::min(value.find('/'), value.size());
  const std::string home = home_directory(value.substr(1, slash - 1));
  return home.empty() ? fs::path{} : fs::path(home + value.substr(slash));
}

fs::path default_excludes_file() {
  const char* configured = std::getenv("XDG_CONFIG_HOME");  // NOLINT(concurrency-mt-unsafe): as above
  if (configured != nullptr && *configured != '\0') return fs::path(configured) / "git" / "ignore";
  const std::string home = home_directory("");
  return home.empty() ? fs::path{} : fs::path(home) / ".config" / "git" / "ignore";
}

// libgit2 1.5 does not know config.worktree.
void add_worktree_configuration(git_repository* repository, const fs::path& file, WorkTree& tree) {
  git_config* raw = nullptr;
  if (!is_there(file) || git_repository_config(&raw, repository) != 0) return;
  const Config config(raw);
  int enabled = 0;
  if (git_config_get_bool(&enabled, config.get(), "extensions.worktreeconfig") != 0 || enabled == 0) return;
  if (git_config_add_file_ondisk(config.get(), file.c_str(), GIT_CONFIG_LEVEL_APP, repository, 0) != 0)
    tree.warning = "config.worktree cannot be read (" + last_error() + "): it is not followed";
}

void read_configuration(git_repository* repository, const os::GitFiles& files, WorkTree& tree) {
  tree.excludes_file = default_excludes_file();
  add_worktree_configuration(repository, files.directory / "config.worktree", tree);
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repository) != 0) {
    tree.warning = "the git configuration cannot be read (" + last_error() + "): core.excludesFile is not followed";
    return;
  }
  const Config config(raw);
  int flag = 0;
  if (git_config_get_bool(&flag, config.get(), "core.ignorecase") == 0) tree.ignore_case = flag != 0;
  const char* value = nullptr;
  if (git_config_get_string(&value, config.get(), "core.excludesfile") == 0)
    tree.excludes_file = expand_path(value, tree.root);
}

// Collects what TrackedPaths is made of.
struct PathList {
  std::vector<char> bytes;
  std::vector<TrackedPaths::Path> paths;
  std::size_t expanded = 0;  // of trees that a sparse index names: six of them can name a million files

  void add(std::string_view path, bool repository) {
    if (bytes.size() + path.size() > UINT32_MAX) throw Error(ErrorCode::kInvalid, "its paths take more than 4 GiB");
    paths.push_back({.at = static_cast<std::uint32_t>(bytes.size()),
                     .length = static_cast<std::uint32_t>(path.size()),
                     .repository = repository});
    bytes.insert(bytes.end(), path.begin(), path.end());
  }
  void add_expanded(std::string_view path, bool repository) {
    constexpr std::size_t kMost = 2'000'000;
    if (++expanded > kMost) throw Error(ErrorCode::kInvalid, "its sparse directories hold more than two million files");
    add(path, repository);
  }
};

// The files of a directory that a sparse index has as one entry, from its tree. What cannot be read is left out: its
// files count as untracked then.
void add_tree(git_repository* repository, const os::GitFiles& files, const git_oid& id, const std::string& directory,
              PathList& paths) {
  std::array<char, GIT_OID_HEXSZ + 1> hex{};
  git_oid_tostr(hex.data(), hex.size(), &id);
  std::string trouble;
  for (const fs::path& objects : files.object_directories)  // a FIFO in place of the object
    if (!os::is_readable_to_its_end(objects / std::string(hex.data(), 2) / (hex.data() + 2), trouble)) return;
  git_tree* raw = nullptr;
  if (directory.size() > 4096 || git_tree_lookup(&raw, repository, &id) != 0) return;
  const std::unique_ptr<git_tree, Releaser<git_tree_free>> tree(raw);
  for (std::size_t at = 0; at < git_tree_entrycount(raw); ++at) {
    const git_tree_entry* entry = git_tree_entry_byindex(raw, at);
    const std::string path = directory + git_tree_entry_name(entry);
    const git_filemode_t mode = git_tree_entry_filemode(entry);
    if (mode == GIT_FILEMODE_TREE)
      add_tree(repository, files, *git_tree_entry_id(entry), path + "/", paths);
    else
      paths.add_expanded(path, mode == GIT_FILEMODE_COMMIT);
  }
}

// What a sparse index has as a directory is in no work tree as a rule: its tree is read where it is.
void read_index(git_repository* repository, const os::GitFiles& files, WorkTree& tree) {
  try {
    const os::GitIndex index = os::GitIndex::read(files.directory / "index");
    const auto range = index.below(tree.prefix);
    PathList paths;
    paths.paths.reserve(range.last - range.first);
    for (std::size_t at = range.first; at < range.last; ++at) {
      const os::GitIndexEntry& entry = index.entries()[at];
      if (entry.type() == os::kGitTree) {
        git_oid id{};
        std::copy(entry.id.begin(), entry.id.end(), id.id);
        if (is_there(tree.root / entry.path)) add_tree(repository, files, id, std::string(entry.path), paths);
        continue;
      }
      paths.add(entry.path, entry.type() == os::kGitSubmodule);
    }
    tree.tracked = TrackedPaths(std::move(paths.bytes), std::move(paths.paths), tree.ignore_case);
  } catch (const Error& error) {
    tree.warning =
        "the git index cannot be read (" + error.message() + "): tracked files that an ignore rule names are out";
  }
}

// The work tree whose ".git" stands in `candidate`, if it is one and `directory` lies in it.
std::optional<WorkTree> open_at(const fs::path& candidate, const fs::path& directory) {
  ensure_libgit2();
  WorkTree tree;
  tree.root = candidate;
  const fs::path dot_git = candidate / ".git";
  const os::GitFiles files = os::inspect_git_files(dot_git);  // libgit2 would wait for a FIFO for ever
  git_repository* raw = nullptr;
  if (!files.trouble.empty() ||
      git_repository_open_ext(&raw, candidate.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr) != 0) {
    if (!looks_like_repository(dot_git)) return std::nullopt;
    tree.warning = "the git repository cannot be read (" + (files.trouble.empty() ? last_error() : files.trouble) +
                   "): tracked files that an ignore rule names are out";
    tree.info_exclude = dot_git / "info" / "exclude";
    tree.excludes_file = default_excludes_file();
  }
  const Repository repository(raw);
  if (repository) {
    if (git_repository_is_bare(repository.get()) != 0) return std::nullopt;
    const char* work_directory = git_repository_workdir(repository.get());
    if (work_directory == nullptr) return std::nullopt;
    std::error_code ignored;
    fs::path root = fs::canonical(work_directory, ignored);  // core.worktree may point elsewhere
    if (!ignored && root != candidate) tree.root = std::move(root);
  }
  if (directory != tree.root) {
    const std::string base = tree.root == "/" ? "/" : tree.root.string() + "/";
    if (!directory.string().starts_with(base)) return std::nullopt;
    tree.prefix = directory.string().substr(base.size()) + "/";
  }
  if (!repository) return tree;
  git_buf path{};
  if (git_repository_item_path(&path, repository.get(), GIT_REPOSITORY_ITEM_INFO) == 0)
    tree.info_exclude = fs::path(path.ptr) / "exclude";
  git_buf_dispose(&path);
  read_configuration(repository.get(), files, tree);
  read_index(repository.get(), files, tree);
  return tree;
}

}  // namespace

std::optional<WorkTree> find_work_tree(const fs::path& directory) {
  struct ::stat start {};
  if (::stat(directory.c_str(), &start) != 0) return std::nullopt;
  for (fs::path at = directory;; at = at.parent_path()) {
    struct ::stat info {};
    if (::stat(at.c_str(), &info) != 0 || info.st_dev != start.st_dev) return std::nullopt;
    if (is_there(at / ".git"))
      if (auto tree = open_at(at, directory)) return tree;
    if (at == at.root_path()) return std::nullopt;
    if (at.filename() == ".git" && looks_like_repository(at)) return std::nullopt;  // in the repository itself
  }
}

std::optional<WorkTree> open_work_tree(const fs::path& directory) { return open_at(directory, directory); }

}  // namespace runner::snapshot
