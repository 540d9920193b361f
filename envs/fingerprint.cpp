#include "envs/fingerprint.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "envs/digest.hpp"
#include "runner/os/fd.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr int kPackageDepth = 2;  // site-packages and what lies directly in the packages

// Every file of a directory by name, size and time of its content, those below it as far as `depth` says. Not of
// directories, which change when Python keeps its bytecode there; the bytecode itself is left out. Nor the time of the
// last change of a file's state: another link to it in a cache is a change of state.
void add_files(std::vector<std::string>& lines, int parent, const std::string& name, int depth) {
  const int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(fd), ::closedir);
  if (!directory) {
    ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view file = entry->d_name;
    if (file == "." || file == ".." || file == "__pycache__") continue;
    struct ::stat info {};
    if (::fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    std::string line = name + "/" + std::string(file);
    if (S_ISDIR(info.st_mode)) {
      lines.push_back(line + "/");
      if (depth > 1) add_files(lines, parent, line, depth - 1);
    } else {
      line += " " + std::to_string(info.st_size) + " " + std::to_string(info.st_mtim.tv_sec) + "." +
              std::to_string(info.st_mtim.tv_nsec);
      lines.push_back(std::move(line));
    }
  }
}

}  // namespace

Hash fingerprint_of(const fs::path& prefix) {
  std::vector<std::string> lines;
  const os::Fd root(::open(prefix.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root) {
    for (const char* directory : {"bin", "conda-meta", "lib"}) add_files(lines, root.get(), directory, 1);
    std::vector<std::string> libraries;
    for (const std::string& line : lines)
      if (line.ends_with('/') && (line.starts_with("lib/python") || line.starts_with("lib/pypy")))
        libraries.push_back(line.substr(0, line.size() - 1));
    for (const std::string& library : libraries) {
      add_files(lines, root.get(), library, 1);
      add_files(lines, root.get(), library + "/site-packages", kPackageDepth);
    }
  }
  std::sort(lines.begin(), lines.end());
  std::string text = "fingerprint 2\n";
  for (const std::string& line : lines) text += line + "\n";
  return digest_of(std::string_view(text));
}

Lock lock_of(const Interpreter& interpreter) {
  Lock lock{.python_version = interpreter.version, .image = {}, .packages = {}};
  for (const Distribution& one : interpreter.distributions)
    lock.packages.push_back({.manager = "pip", .name = one.name, .version = one.version});
  std::sort(lock.packages.begin(), lock.packages.end(), [](const LockedPackage& a, const LockedPackage& b) {
    return std::tie(a.manager, a.name) < std::tie(b.manager, b.name);
  });
  return lock;
}

}  // namespace runner::envs
