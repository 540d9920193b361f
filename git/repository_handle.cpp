#include "git/repository_handle.hpp"

#include <sys/stat.h>
#include <unistd.h>

namespace runner::git {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_bare_layout(const fs::path& path) {
  return is_there(path / "HEAD") && is_there(path / "objects") && is_there(path / "refs");
}

// git refuses a repository that belongs to someone else because its configuration can name programs to run. Nothing is
// run here, so it is read like any other; GIT_DIR and its like are not looked at because FROM_ENV is not set.
void ensure_libgit2() {
  static const int initialised = [] {
    const int count = git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    return count;
  }();
  static_cast<void>(initialised);
}

}  // namespace

std::string last_error() {
  const git_error* error = git_error_last();
  return error != nullptr && error->message != nullptr ? error->message : "unknown error";
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

Repository open_repository(const fs::path& directory, std::string& reason) {
  ensure_libgit2();
  git_repository* raw = nullptr;
  const int result = git_repository_open_ext(&raw, directory.c_str(), 0, nullptr);
  if (result != 0 && result != GIT_ENOTFOUND) reason = last_error();
  return Repository(result == 0 ? raw : nullptr);
}

}  // namespace runner::git
