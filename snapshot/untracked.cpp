// What git has not been told about, with git's rules whatever the snapshot's are.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "runner/os/fd.hpp"
#include "snapshot/directory_entries.hpp"
#include "snapshot/scope.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::snapshot {
namespace {

constexpr int kMaxDepth = 2000;  // as the walk's; deeper directories are passed over
// A list that exceeds the limit keeps the first names of those seen so far and is cut down now and then.
constexpr std::size_t kListSlack = 4096;

class Search {
 public:
  // `limit` 0: the first one ends it.
  Search(Scope& scope, std::size_t limit) : scope_(scope), limit_(limit) {}

  // True: stop.
  bool directory(int directory_fd, const Place& place, const std::string& shown, int depth) {
    for (const DirectoryEntry& entry : read_entries(directory_fd, shown)) {
      if (scope_.is_git_name(place, entry.name)) continue;
      const unsigned char type = type_of(directory_fd, entry);
      if (type != DT_DIR && type != DT_REG && type != DT_LNK) continue;
      const Decision decision = scope_.decide(place, entry.name, type == DT_DIR);
      if (!decision.included || decision.tracked_only) continue;
      // A directory where the index has a file is as untracked as any other.
      if (decision.tracked == TrackedPaths::Kind::kRepository) continue;
      if (decision.tracked == TrackedPaths::Kind::kFile && type != DT_DIR) continue;
      const std::string path = shown + entry.name;
      if (type == DT_DIR ? subdirectory(directory_fd, place, entry.name, decision, path + "/", depth) : found(path))
        return true;
    }
    return false;
  }

  UntrackedFiles finish() {
    cut();
    return std::move(files_);
  }

 private:
  static unsigned char type_of(int directory_fd, const DirectoryEntry& entry) {
    struct ::stat info {};
    if (entry.type != DT_UNKNOWN) return entry.type;
    if (::fstatat(directory_fd, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
    return static_cast<unsigned char>(IFTODT(info.st_mode));
  }

  bool found(std::string path) {
    if (limit_ == 0) return true;
    files_.paths.push_back(std::move(path));
    if (files_.paths.size() >= limit_ + kListSlack) cut();
    return false;
  }

  void cut() {
    std::sort(files_.paths.begin(), files_.paths.end());
    if (files_.paths.size() <= limit_) return;
    files_.more += static_cast<std::int64_t>(files_.paths.size() - limit_);
    files_.paths.resize(limit_);
  }

  bool subdirectory(int parent_fd, const Place& parent, const std::string& name, const Decision& decision,
                    const std::string& shown, int depth) {
    const os::Fd fd(::openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd || depth >= kMaxDepth) return false;  // unreadable: git passes over it with a warning
    const bool has_dot_git = ::faccessat(fd.get(), ".git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    const Place place = scope_.enter(parent, name, decision, fd.get(), shown, has_dot_git);
    if (place.index != parent.index) return found(shown);  // a repository of its own: git shows it as one thing
    return directory(fd.get(), place, shown, depth + 1);
  }

  Scope& scope_;
  const std::size_t limit_;
  UntrackedFiles files_;
};

UntrackedFiles search(const std::filesystem::path& directory, std::size_t limit, bool& found) {
  Scope scope({.source = directory, .data_directory = {}, .stat_cache = {}}, ".gitignore");
  if (!scope.in_work_tree() || scope.root_place().tracked_only) return {};
  Search looking(scope, limit);
  found = looking.directory(scope.root().get(), scope.root_place(), "", 0);
  return looking.finish();
}

}  // namespace

bool has_untracked(const std::filesystem::path& directory) {
  bool found = false;
  search(directory, 0, found);
  return found;
}

UntrackedFiles list_untracked(const std::filesystem::path& directory, std::size_t limit) {
  bool found = false;
  return search(directory, std::max<std::size_t>(limit, 1), found);
}

}  // namespace runner::snapshot
