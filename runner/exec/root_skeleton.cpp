#include "runner/exec/root_skeleton.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {
namespace {

using std::filesystem::path;

// FNV-1a: tells sets of mount points apart; nobody gains by making two of them meet.
std::string name_of(const std::vector<MountPoint>& mount_points) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    hash = (hash ^ 0xff) * 0x100000001b3;
  };
  for (const MountPoint& point : mount_points) {
    mix(point.path);
    mix(point.kind == MountPoint::Kind::kDirectory ? "d" : point.kind == MountPoint::Kind::kFile ? "f" : "l");
    mix(point.link);
  }
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

void make_directory(const path& directory) {
  struct ::stat info {};
  if (::stat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return;
  if (directory.has_parent_path() && directory != directory.parent_path()) make_directory(directory.parent_path());
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) throw errno_error(errno, "mkdir " + directory.string());
}

}  // namespace

void make_mount_points(const path& root, const std::vector<MountPoint>& mount_points) {
  for (const MountPoint& point : mount_points) {
    const path place = root.string() + point.path;
    switch (point.kind) {
      case MountPoint::Kind::kDirectory:
        make_directory(place);
        break;
      case MountPoint::Kind::kFile: {
        make_directory(place.parent_path());
        if (::access(place.c_str(), F_OK) == 0) break;
        os::open_file(place, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644);
        break;
      }
      case MountPoint::Kind::kLink: {
        make_directory(place.parent_path());
        if (::symlink(point.link.c_str(), place.c_str()) != 0 && errno != EEXIST)
          throw errno_error(errno, "symlink " + place.string());
        break;
      }
    }
  }
}

path root_skeleton(const path& roots, const std::vector<MountPoint>& mount_points) {
  const path wanted = roots / name_of(mount_points);
  if (::access(wanted.c_str(), F_OK) == 0) return wanted;
  static std::atomic<unsigned> counter{0};
  const path temporary = roots / (".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
  os::make_directories(roots);
  make_directory(temporary);
  make_mount_points(temporary, mount_points);
  // 1777 on disk: runc copies this mode over the one of a tmpfs mounted there (platform.md, 21).
  if (const path tmp = temporary / "tmp"; ::access(tmp.c_str(), F_OK) == 0) ::chmod(tmp.c_str(), 01777);
  if (::rename(temporary.c_str(), wanted.c_str()) != 0) {
    const int error = errno;
    os::remove_tree(temporary);
    if (error != EEXIST && error != ENOTEMPTY) throw errno_error(error, "rename to " + wanted.string());
  }
  return wanted;
}

}  // namespace runner::exec
