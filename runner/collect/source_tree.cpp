#include "runner/collect/source_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <exception>
#include <memory>
#include <system_error>
#include <vector>

#include "runner/collect/gatherer.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/os/file.hpp"

namespace runner::collect {
namespace {

constexpr std::size_t kPiece = 1 << 20;

Error not_copied(const std::string& shown, int error) {
  return Error(ErrorCode::kInvalid, "the source, " + shortened(shown) + ": " + std::system_category().message(error));
}

class Copy {
 public:
  explicit Copy(std::stop_token stop) : stop_(std::move(stop)) {}

  void directory(const os::Fd& from, int to, const std::string& shown, int depth) {
    if (depth == kMaxTreeDepth)
      throw Error(ErrorCode::kInvalid, "the source, " + shortened(shown) + ": nested too deeply");
    for (const std::string& name : names_in(from, shown)) {
      refuse_to_go_on();
      if (name != ".git") entry(from.get(), to, name, shown.empty() ? name : shown + "/" + name, depth);
    }
  }

 private:
  void refuse_to_go_on() const {
    if (stop_.stop_requested()) throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again");
  }

  std::vector<std::string> names_in(const os::Fd& directory, const std::string& shown) {
    os::Fd own(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0));
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(own ? ::fdopendir(own.get()) : nullptr, ::closedir);
    if (!stream) throw not_copied(shown, errno);
    static_cast<void>(own.release());
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++entries_ > kMaxTreeEntries)
        throw Error(ErrorCode::kInvalid, "the source has more than " + std::to_string(kMaxTreeEntries) + " entries",
                    "leave out what is no code; data has its place in a --mount");
      names.push_back(name);
    }
    return names;
  }

  void entry(int from, int to, const std::string& name, const std::string& shown, int depth) {
    struct ::stat info {};
    if (::fstatat(from, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;  // gone meanwhile
    if (S_ISLNK(info.st_mode)) return link(from, to, name, shown);
    if (S_ISDIR(info.st_mode)) {
      const os::Fd below = open_beneath(from, name.c_str(), O_RDONLY | O_DIRECTORY);
      if (!below || ::mkdirat(to, name.c_str(), 0700) != 0) throw not_copied(shown, errno);
      const os::Fd copied = open_beneath(to, name.c_str(), O_RDONLY | O_DIRECTORY);
      if (!copied) throw not_copied(shown, errno);
      return directory(below, copied.get(), shown, depth + 1);
    }
    if (S_ISREG(info.st_mode)) file(from, to, name, shown);
  }

  static void link(int from, int to, const std::string& name, const std::string& shown) {
    std::array<char, PATH_MAX> target{};
    if (::readlinkat(from, name.c_str(), target.data(), target.size() - 1) < 0) throw not_copied(shown, errno);
    if (::symlinkat(target.data(), to, name.c_str()) != 0) throw not_copied(shown, errno);
  }

  void file(int from, int to, const std::string& name, const std::string& shown) {
    // Looked at before it is opened: by now it may be another, a device perhaps.
    const os::Fd handle = open_beneath(from, name.c_str(), O_PATH);
    struct ::stat info {};
    if (!handle || ::fstat(handle.get(), &info) != 0) {
      if (errno == ENOENT) return;  // gone meanwhile
      throw not_copied(shown, errno);
    }
    if (!S_ISREG(info.st_mode)) return;
    const os::Fd source(::open(("/proc/self/fd/" + std::to_string(handle.get())).c_str(), O_RDONLY | O_CLOEXEC));
    if (!source) throw not_copied(shown, errno);
    // Each of their lines is compared with each name.
    if ((name == ".amlignore" || name == ".gitignore") && (ignore_bytes_ += info.st_size) > kMaxIgnoreBytes)
      throw Error(ErrorCode::kInvalid, "the source's ignore files are larger than " + format_size(kMaxIgnoreBytes));
    bytes_ += info.st_size;
    if (bytes_ > kMaxTreeBytes)
      throw Error(ErrorCode::kInvalid, "the source is larger than " + format_size(kMaxTreeBytes),
                  "leave out what is no code; data has its place in a --mount");
    const mode_t mode = (info.st_mode & S_IXUSR) != 0 ? 0700 : 0600;
    const os::Fd target(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!target) throw not_copied(shown, errno);
    buffer_.resize(kPiece);
    for (auto left = static_cast<std::size_t>(info.st_size); left > 0;) {
      refuse_to_go_on();
      const ssize_t got = ::read(source.get(), buffer_.data(), std::min(left, buffer_.size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw not_copied(shown, errno);
      if (got == 0) break;  // shorter by now
      os::write_all(target.get(), {buffer_.data(), static_cast<std::size_t>(got)}, shown);
      left -= static_cast<std::size_t>(got);
    }
  }

  const std::stop_token stop_;
  std::int64_t entries_ = 0;
  std::int64_t bytes_ = 0;
  std::int64_t ignore_bytes_ = 0;
  std::string buffer_;
};

}  // namespace

HandedOverTrees::HandedOverTrees(const std::filesystem::path& trees)
    : trees_(::open(trees.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) {}

void HandedOverTrees::copy_source(const std::string& name, const std::filesystem::path& target,
                                  const std::stop_token& stop) const {
  const os::Fd tree = trees_ ? open_beneath(trees_.get(), name.c_str(), O_RDONLY | O_DIRECTORY) : os::Fd();
  if (!tree)
    throw Error(ErrorCode::kNotFound,
                "sourceTree: there is no directory '" + shortened(name) + "' in /run/runner/trees");
  const os::Fd source = open_beneath(tree.get(), "source", O_RDONLY | O_DIRECTORY);
  if (!source) throw Error(ErrorCode::kNotFound, "sourceTree: '" + shortened(name) + "' has no directory 'source'");
  os::make_directories(target);
  const os::Fd into = os::open_file(target, O_RDONLY | O_DIRECTORY);
  Copy(stop).directory(source, into.get(), "", 0);
}

// Renamed first: a path below `trees` is the script's, and may lead anywhere by the time it is followed.
void HandedOverTrees::remove(const std::string& name, const std::filesystem::path& aside) const noexcept {
  if (!trees_) return;
  try {
    const os::Fd directory = os::open_file(aside, O_RDONLY | O_DIRECTORY);
    constexpr const char* kTaken = "taken";
    if (::renameat(trees_.get(), name.c_str(), directory.get(), kTaken) == 0) os::remove_tree(aside / kTaken);
  } catch (const std::exception&) {
  }
}

}  // namespace runner::collect
