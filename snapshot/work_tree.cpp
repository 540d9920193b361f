#include "snapshot/work_tree.hpp"

#include <git2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "snapshot/index_paths.hpp"

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
using Index = std::unique_ptr<git_index, Releaser<git_index_free>>;
using Config = std::unique_ptr<git_config, Releaser<git_config_free>>;

// git refuses a repository of another owner because its configuration could name programs to run. Nothing is run here,
// so such a repository is read like any other.
void ensure_libgit2() {
  static const int initialised = [] {
    const int count = git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
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

void read_configuration(git_repository* repository, WorkTree& tree) {
  tree.excludes_file = default_excludes_file();
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

// What the quick reader leaves to libgit2, and what libgit2 then cannot read either.
void read_index_slowly(git_repository* repository, WorkTree& tree) {
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repository) != 0) {
    tree.warning =
        "the git index cannot be read (" + last_error() + "): tracked files that an ignore rule names are out";
    return;
  }
  const Index index(raw);
  std::vector<char> bytes;
  std::vector<TrackedPaths::Path> paths;
  const std::size_t count = git_index_entrycount(index.get());
  for (std::size_t at = 0; at < count; ++at) {
    const git_index_entry* entry = git_index_get_byindex(index.get(), at);
    const std::string_view path = entry->path;
    if (!path.starts_with(tree.prefix) || bytes.size() + path.size() > UINT32_MAX) continue;
    paths.push_back({.at = static_cast<std::uint32_t>(bytes.size()),
                     .length = static_cast<std::uint32_t>(path.size()),
                     .repository = entry->mode == GIT_FILEMODE_COMMIT});
    bytes.insert(bytes.end(), path.begin(), path.end());
  }
  tree.tracked = TrackedPaths(std::move(bytes), std::move(paths), tree.ignore_case);
}

void read_index(git_repository* repository, WorkTree& tree) {
  git_buf path{};
  std::optional<IndexPaths> read;
  if (git_repository_item_path(&path, repository, GIT_REPOSITORY_ITEM_INDEX) == 0)
    read = read_index_paths(path.ptr, tree.prefix);
  git_buf_dispose(&path);
  if (!read) return read_index_slowly(repository, tree);
  tree.tracked = TrackedPaths(std::move(read->bytes), std::move(read->paths), tree.ignore_case);
}

// The work tree whose ".git" stands in `candidate`, if it is one and `directory` lies in it.
std::optional<WorkTree> open_at(const fs::path& candidate, const fs::path& directory) {
  ensure_libgit2();
  WorkTree tree;
  tree.root = candidate;
  git_repository* raw = nullptr;
  if (git_repository_open_ext(&raw, candidate.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr) != 0) {
    const fs::path dot_git = candidate / ".git";
    if (!looks_like_repository(dot_git)) return std::nullopt;
    tree.warning =
        "the git repository cannot be read (" + last_error() + "): tracked files that an ignore rule names are out";
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
  read_configuration(repository.get(), tree);
  read_index(repository.get(), tree);
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
