#include "snapshot/walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/directory_entries.hpp"

namespace runner::snapshot {
namespace {

constexpr int kMaxDepth = 2000;  // bounds the stack
// Down to here each subdirectory is a task of its own, which keeps its parent open until it has been opened itself.
// Deeper a subtree is walked by one thread, which closes a directory while it is in its subdirectories and finds it
// again through "..": descriptors are bounded, and ordinary trees do not pay for it.
constexpr int kKeptOpen = 64;
constexpr std::size_t kDirectoryWeight = 20;  // µs, with the usual few dozen files

struct Subdirectory {
  std::string name;
  Decision decision;
};

// A directory whose subdirectories are still to be walked.
struct Open {
  WalkedDirectory at;
  Place place;
  std::shared_ptr<WalkNode> node;
  int depth = 0;
};

class Walk {
 public:
  Walk(Scope& scope, WalkVisitor& visitor, WorkPool& pool) : scope_(scope), visitor_(visitor), pool_(pool) {}

  void run() {
    pool_.add(0, [this](int worker) {
      const int fd = ::openat(scope_.root().get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) throw errno_error(errno, "open the source directory");
      WalkedDirectory root{.fd = std::make_shared<os::Fd>(fd), .path = "", .worker = worker};
      auto entries = entries_of(root, scope_.root_place());
      directory(root, scope_.root_place(), nullptr, std::move(entries), 0);
    });
    pool_.run();
  }

 private:
  // In an ignored directory nobody looks round: the tracked names are known from the index.
  std::vector<DirectoryEntry> entries_of(const WalkedDirectory& at, const Place& place) {
    if (!place.tracked_only) return read_entries(at.fd->get(), at.path);
    std::vector<DirectoryEntry> entries;
    for (std::string& name : place.index->names(place.tracked))
      entries.push_back({.name = std::move(name), .type = DT_UNKNOWN});
    return entries;
  }

  // Of a deep directory the descriptor is there again when it returns.
  void directory(WalkedDirectory& at, Place place, std::shared_ptr<WalkNode> parent,
                 std::vector<DirectoryEntry> entries, int depth) {
    if (depth > kMaxDepth) throw Error(ErrorCode::kInvalid, at.path + ": nested deeper than 2000 directories");
    std::vector<Subdirectory> subdirectories;
    std::vector<std::string> files = sift(at, place, entries, subdirectories);
    entries = {};
    at.is_deep = depth >= kKeptOpen;
    auto node = visitor_.directory(at, std::move(parent), std::move(files), subdirectories.size());
    if (subdirectories.empty()) return;
    if (at.is_deep) return deeper(at, place, node, subdirectories, depth);
    const int worker = at.worker;
    const auto open = std::make_shared<Open>(
        Open{.at = std::move(at), .place = std::move(place), .node = std::move(node), .depth = depth});
    for (Subdirectory& subdirectory : subdirectories)
      pool_.add(
          worker,
          [this, open, subdirectory = std::move(subdirectory)](int on) {
            WalkedDirectory child = open_child(open->at, subdirectory.name, on);
            if (child.fd)
              descend(child, open->place, open->node, subdirectory, open->depth);
            else
              visitor_.left_out(open->node);
          },
          kDirectoryWeight);
  }

  void deeper(WalkedDirectory& at, const Place& place, const std::shared_ptr<WalkNode>& node,
              const std::vector<Subdirectory>& subdirectories, int depth) {
    struct ::stat identity {};
    if (::fstat(at.fd->get(), &identity) != 0) throw errno_error(errno, "stat " + at.path);
    for (const Subdirectory& subdirectory : subdirectories) {
      WalkedDirectory child = open_child(at, subdirectory.name, at.worker);
      if (!child.fd) {
        visitor_.left_out(node);
        continue;
      }
      at.fd.reset();
      descend(child, place, node, subdirectory, depth);
      at.fd = reopen(*child.fd, at.path, identity);
    }
  }

  // The files that are in, and the subdirectories that may be.
  std::vector<std::string> sift(const WalkedDirectory& at, const Place& place, std::vector<DirectoryEntry>& entries,
                                std::vector<Subdirectory>& subdirectories) {
    std::vector<std::string> files;
    files.reserve(entries.size());
    for (DirectoryEntry& entry : entries) {
      if (scope_.is_git_name(place, entry.name)) continue;
      if (entry.type == DT_UNKNOWN) {
        struct ::stat info {};
        if (::fstatat(at.fd->get(), entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
          if (errno == ENOENT || errno == ENOTDIR) continue;  // tracked and not there, or gone meanwhile
          if (errno != EACCES && errno != EPERM) throw errno_error(errno, "stat " + at.path + entry.name);
          scope_.add_unreadable(at.path + entry.name);
          continue;
        }
        entry.type = static_cast<unsigned char>(IFTODT(info.st_mode));
      }
      if (entry.type == DT_DIR) {
        const Decision decision = scope_.decide(place, entry.name, true);
        if (decision.included) subdirectories.push_back({.name = std::move(entry.name), .decision = decision});
        continue;
      }
      if (!scope_.includes_file(place, entry.name)) continue;
      switch (entry.type) {
        case DT_REG:
        case DT_LNK:
          files.push_back(std::move(entry.name));
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
    std::sort(files.begin(), files.end());
    return files;
  }

  void skip(const WalkedDirectory& at, const std::string& name, const char* what) {
    scope_.warn(at.path + name + " is " + what + ": skipped");
  }

  // One component, never through a link: as safe as openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), and it works where
  // a seccomp filter does not know openat2.
  WalkedDirectory open_child(const WalkedDirectory& parent, const std::string& name, int worker) {
    WalkedDirectory child{.fd = nullptr, .path = parent.path + name + "/", .worker = worker};
    const int fd = ::openat(parent.fd->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
      child.fd = std::make_shared<os::Fd>(fd);
    } else if (errno == EACCES || errno == EPERM) {
      scope_.add_unreadable(child.path);
    } else if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
      throw Error(ErrorCode::kInvalid, child.path + ": changed while the source directory was read", "try again");
    } else {
      throw errno_error(errno, "open " + child.path);
    }
    return child;
  }

  void descend(WalkedDirectory& child, const Place& parent, const std::shared_ptr<WalkNode>& node,
               const Subdirectory& subdirectory, int depth) {
    const int fd = child.fd->get();
    if (scope_.is_data_directory(fd)) return visitor_.left_out(node);
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
    if (is_environment) return visitor_.left_out(node);
    Place place = scope_.enter(parent, subdirectory.name, subdirectory.decision, fd, child.path, has_dot_git);
    if (subdirectory.decision.tracked_only)
      entries = place.tracked_only ? entries_of(child, place) : read_entries(fd, child.path);
    directory(child, std::move(place), node, std::move(entries), depth + 1);
  }

  std::shared_ptr<const os::Fd> reopen(const os::Fd& child, const std::string& path, const struct ::stat& identity) {
    auto fd = std::make_shared<os::Fd>(::openat(child.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct ::stat now {};
    if (!*fd || ::fstat(fd->get(), &now) != 0 || now.st_ino != identity.st_ino || now.st_dev != identity.st_dev)
      throw Error(ErrorCode::kInvalid, path + ": moved while the source directory was read", "try again");
    return fd;
  }

  Scope& scope_;
  WalkVisitor& visitor_;
  WorkPool& pool_;
};

}  // namespace

void walk(Scope& scope, WalkVisitor& visitor, WorkPool& pool) { Walk(scope, visitor, pool).run(); }

}  // namespace runner::snapshot
