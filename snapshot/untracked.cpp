// "Is there anything that git has not been told about?", with git's rules whatever the snapshot's are.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "runner/os/fd.hpp"
#include "snapshot/directory_entries.hpp"
#include "snapshot/scope.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::snapshot {
namespace {

class Search {
 public:
  explicit Search(Scope& scope) : scope_(scope) {}

  bool found_in(int directory_fd, const Place& place, const std::string& shown) {
    for (const DirectoryEntry& entry : read_entries(directory_fd, shown)) {
      if (scope_.is_git_name(place, entry.name)) continue;
      const unsigned char type = type_of(directory_fd, entry);
      if (type != DT_DIR && type != DT_REG && type != DT_LNK) continue;
      const Decision decision = scope_.decide(place, entry.name, type == DT_DIR);
      if (!decision.included || decision.tracked_only) continue;
      // A directory where the index has a file is as untracked as any other.
      if (decision.tracked == TrackedPaths::Kind::kRepository) continue;
      if (decision.tracked == TrackedPaths::Kind::kFile && type != DT_DIR) continue;
      if (type != DT_DIR || found_below(directory_fd, place, entry.name, decision, shown + entry.name + "/"))
        return true;
    }
    return false;
  }

 private:
  static unsigned char type_of(int directory_fd, const DirectoryEntry& entry) {
    struct ::stat info {};
    if (entry.type != DT_UNKNOWN) return entry.type;
    if (::fstatat(directory_fd, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
    return static_cast<unsigned char>(IFTODT(info.st_mode));
  }

  bool found_below(int parent_fd, const Place& parent, const std::string& name, const Decision& decision,
                   const std::string& shown) {
    const os::Fd fd(::openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return false;  // unreadable: git passes over it with a warning
    const bool has_dot_git = ::faccessat(fd.get(), ".git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    const Place place = scope_.enter(parent, name, decision, fd.get(), shown, has_dot_git);
    if (place.index != parent.index) return true;  // a repository of its own: git shows it as one untracked thing
    return found_in(fd.get(), place, shown);
  }

  Scope& scope_;
};

}  // namespace

bool has_untracked(const std::filesystem::path& directory) {
  Scope scope({.source = directory, .data_directory = {}, .stat_cache = {}}, ".gitignore");
  if (!scope.in_work_tree() || scope.root_place().tracked_only) return false;
  return Search(scope).found_in(scope.root().get(), scope.root_place(), "");
}

}  // namespace runner::snapshot
