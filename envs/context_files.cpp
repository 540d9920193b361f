#include "envs/context_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <set>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

std::int64_t nanoseconds(const ::timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

class Listing {
 public:
  Listing(const os::Fd& directory, const std::string& name, const DockerIgnore& ignore,
          const std::filesystem::path& left_out)
      : directory_(directory), name_(name), ignore_(ignore) {
    struct ::stat info {};
    if (!left_out.empty() && ::stat(left_out.c_str(), &info) == 0) left_out_ = info;
  }

  std::vector<ContextFile> all() {
    waiting_.push_back({});
    while (!waiting_.empty()) {
      const Waiting next = std::move(waiting_.back());
      waiting_.pop_back();
      enter(next);
    }
    std::sort(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return std::move(files_);
  }

 private:
  struct Waiting {
    std::string path{};
    DockerIgnore::Matched matched{};
  };

  void enter(const Waiting& place) {
    const std::string here = place.path.empty() ? "." : place.path;
    const int fd = ::openat(directory_.get(), here.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) throw errno_error(errno, "open " + name_ + "/" + place.path);
    const std::unique_ptr<::DIR, int (*)(::DIR*)> stream(::fdopendir(fd), ::closedir);
    for (;;) {
      errno = 0;
      const ::dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) break;
      const std::string base = entry->d_name;
      if (base != "." && base != "..") look_at(place, fd, base);
    }
    if (errno != 0) throw errno_error(errno, "read " + name_ + "/" + place.path);
  }

  void look_at(const Waiting& place, int fd, const std::string& base) {
    struct ::stat info {};
    if (::fstatat(fd, base.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return;  // gone meanwhile
      throw errno_error(errno, "look at " + name_ + "/" + place.path + "/" + base);
    }
    if (S_ISSOCK(info.st_mode)) return;
    if (left_out_ && info.st_ino == left_out_->st_ino && info.st_dev == left_out_->st_dev) return;
    const std::string path = place.path.empty() ? base : place.path + "/" + base;
    DockerIgnore::Verdict verdict = ignore_.look_at(path, place.matched);
    if (S_ISDIR(info.st_mode) && (!verdict.ignored || ignore_.may_return_below(path)))
      waiting_.push_back({path, std::move(verdict.matched)});
    if (verdict.ignored) return;
    add_directories_above(path);
    add(path, info);
  }

  // Those that are ignored themselves.
  void add_directories_above(const std::string& path) {
    for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      struct ::stat info {};
      if (!directories_.contains(above) && ::fstatat(directory_.get(), above.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
        add(above, info);
    }
  }

  void add(const std::string& path, const struct ::stat& info) {
    if (S_ISDIR(info.st_mode) && !directories_.insert(path).second) return;
    ContextFile file{.path = path,
                     .mode = info.st_mode,
                     .device = S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode) ? info.st_rdev : 0,
                     .size = S_ISREG(info.st_mode) ? info.st_size : 0,
                     .modified = nanoseconds(info.st_mtim),
                     .changed = nanoseconds(info.st_ctim),
                     .inode = info.st_ino};
    if (S_ISLNK(info.st_mode)) {
      std::array<char, PATH_MAX> target{};
      const ssize_t size = ::readlinkat(directory_.get(), path.c_str(), target.data(), target.size());
      if (size < 0) throw errno_error(errno, "read link " + name_ + "/" + path);
      file.target.assign(target.data(), static_cast<std::size_t>(size));
    }
    files_.push_back(std::move(file));
  }

  const os::Fd& directory_;
  const std::string& name_;
  const DockerIgnore& ignore_;
  std::optional<struct ::stat> left_out_;
  std::vector<Waiting> waiting_;
  std::set<std::string> directories_;
  std::vector<ContextFile> files_;
};

}  // namespace

std::vector<ContextFile> list_context(const os::Fd& directory, const std::string& name, const DockerIgnore& ignore,
                                      const std::filesystem::path& left_out) {
  return Listing(directory, name, ignore, left_out).all();
}

}  // namespace runner::envs
