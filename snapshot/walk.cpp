#include "snapshot/walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "snapshot/directory_entries.hpp"

namespace runner::snapshot {
namespace {

constexpr int kMaxDepth = 2000;  // bounds the stack
// Deeper than this a directory is closed while its subdirectories are walked and found again through "..": descriptors
// are bounded, and ordinary trees do not pay for it.
constexpr int kKeptOpen = 64;

class Walk {
 public:
  Walk(Scope& scope, WalkVisitor& visitor) : scope_(scope), visitor_(visitor) {}

  void run() {
    const int fd = ::openat(scope_.root().get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) throw errno_error(errno, "open the source directory");
    WalkedDirectory root{.fd = std::make_shared<os::Fd>(fd), .path = ""};
    const Place& place = scope_.root_place();
    auto entries = entries_of(root, place);
    directory(root, place, std::move(entries), 0);
  }

 private:
  struct Subdirectory {
    std::string name;
    Decision decision;
  };

  // In an ignored directory nobody looks round: the tracked names are known from the index.
  std::vector<DirectoryEntry> entries_of(const WalkedDirectory& at, const Place& place) {
    if (!place.tracked_only) return read_entries(at.fd->get(), at.path);
    std::vector<DirectoryEntry> entries;
    for (std::string& name : place.index->names(place.tracked))
      entries.push_back({.name = std::move(name), .type = DT_UNKNOWN});
    return entries;
  }

  void directory(WalkedDirectory& at, const Place& place, std::vector<DirectoryEntry> entries, int depth) {
    if (depth > kMaxDepth) throw Error(ErrorCode::kInvalid, at.path + ": nested deeper than 2000 directories");
    visitor_.enter(at);
    std::vector<Subdirectory> subdirectories = files(at, place, entries);
    entries = {};
    visitor_.files_done(at);
    struct ::stat identity {};
    if (depth >= kKeptOpen && ::fstat(at.fd->get(), &identity) != 0) throw errno_error(errno, "stat " + at.path);
    for (const Subdirectory& subdirectory : subdirectories) {
      WalkedDirectory child = open(at, subdirectory.name);
      if (!child.fd) continue;
      if (depth >= kKeptOpen) at.fd.reset();
      descend(child, place, subdirectory, depth);
      if (!at.fd) at.fd = reopen(child, at.path, identity);
    }
    visitor_.leave();
  }

  std::vector<Subdirectory> files(const WalkedDirectory& at, const Place& place, std::vector<DirectoryEntry>& entries) {
    std::vector<Subdirectory> subdirectories;
    for (DirectoryEntry& entry : entries) {
      if (scope_.is_git_name(place, entry.name)) continue;
      if (entry.type == DT_UNKNOWN) {
        struct ::stat info {};
        if (::fstatat(at.fd->get(), entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        entry.type = static_cast<unsigned char>(IFTODT(info.st_mode));
      }
      const Decision decision = scope_.decide(place, entry.name, entry.type == DT_DIR);
      if (!decision.included) continue;
      switch (entry.type) {
        case DT_DIR:
          subdirectories.push_back({.name = std::move(entry.name), .decision = decision});
          break;
        case DT_REG:
          visitor_.file(at, entry.name, false);
          break;
        case DT_LNK:
          visitor_.file(at, entry.name, true);
          break;
        case DT_FIFO:
          skip(at, entry.name, "a FIFO");
          break;
        case DT_SOCK:
          skip(at, entry.name, "a socket");
          break;
        default:
          skip(at, entry.name, "a device");
          break;
      }
    }
    return subdirectories;
  }

  void skip(const WalkedDirectory& at, const std::string& name, const char* what) {
    scope_.warnings.push_back(at.path + name + " is " + what + ": skipped");
  }

  // One component, never through a link: as safe as openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), and it works where
  // a seccomp filter does not know openat2.
  WalkedDirectory open(const WalkedDirectory& parent, const std::string& name) {
    WalkedDirectory child{.fd = nullptr, .path = parent.path + name + "/"};
    const int fd = ::openat(parent.fd->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
      child.fd = std::make_shared<os::Fd>(fd);
    } else if (errno == EACCES || errno == EPERM) {
      scope_.unreadable.push_back(child.path);
    } else if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
      throw Error(ErrorCode::kInvalid, child.path + ": changed while the source directory was read", "try again");
    } else {
      throw errno_error(errno, "open " + child.path);
    }
    return child;
  }

  void descend(WalkedDirectory& child, const Place& parent, const Subdirectory& subdirectory, int depth) {
    const int fd = child.fd->get();
    if (scope_.is_data_directory(fd)) return;
    std::vector<DirectoryEntry> entries;
    bool has_dot_git = false;
    bool is_environment = false;
    if (subdirectory.decision.tracked_only) {
      has_dot_git = ::faccessat(fd, ".git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
      is_environment = scope_.is_environment(fd);
    } else {
      entries = read_entries(fd, child.path);
      for (const DirectoryEntry& entry : entries) {
        has_dot_git |= scope_.is_git_name(parent, entry.name);
        is_environment |= entry.name == "pyvenv.cfg" || (entry.name == "conda-meta" && scope_.is_environment(fd));
      }
    }
    if (is_environment) return;
    const Place place = scope_.enter(parent, subdirectory.name, subdirectory.decision, fd, child.path, has_dot_git);
    if (subdirectory.decision.tracked_only)
      entries = place.tracked_only ? entries_of(child, place) : read_entries(fd, child.path);
    directory(child, place, std::move(entries), depth + 1);
  }

  std::shared_ptr<const os::Fd> reopen(const WalkedDirectory& child, const std::string& path,
                                       const struct ::stat& identity) {
    auto fd = std::make_shared<os::Fd>(::openat(child.fd->get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct ::stat now {};
    if (!*fd || ::fstat(fd->get(), &now) != 0 || now.st_ino != identity.st_ino || now.st_dev != identity.st_dev)
      throw Error(ErrorCode::kInvalid, path + ": moved while the source directory was read", "try again");
    return fd;
  }

  Scope& scope_;
  WalkVisitor& visitor_;
};

}  // namespace

void walk(Scope& scope, WalkVisitor& visitor) { Walk(scope, visitor).run(); }

}  // namespace runner::snapshot
