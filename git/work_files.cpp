#include "git/work_files.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include "git/large_file_pointer.hpp"

namespace runner::git {
namespace {

// A file that has to be converted is read whole. git does the same and has no limit.
constexpr std::size_t kConvertedLimit = std::size_t{256} << 20;
// Deeper directories are opened anew for each file: descriptors are bounded.
constexpr std::size_t kKeptOpen = 64;

bool flag_of(git_config* config, const char* key, bool otherwise) {
  int value = 0;
  return git_config_get_bool(&value, config, key) == 0 ? value != 0 : otherwise;
}

using Digest = std::unique_ptr<EVP_MD_CTX, Releaser<EVP_MD_CTX_free>>;

// "blob SIZE\0" and the content, as git names it. A file of another size by the end is another file.
class BlobHash {
 public:
  explicit BlobHash(std::uint64_t size) : digest_(EVP_MD_CTX_new()) {
    if (!digest_ || EVP_DigestInit_ex(digest_.get(), EVP_sha1(), nullptr) != 1)
      throw Unreadable{"SHA-1 is not available from libcrypto"};
    const std::string head = "blob " + std::to_string(size);
    add(head.c_str(), head.size() + 1);
  }
  void add(const void* bytes, std::size_t size) { EVP_DigestUpdate(digest_.get(), bytes, size); }
  os::GitId finish() {
    os::GitId id;
    EVP_DigestFinal_ex(digest_.get(), id.data(), nullptr);
    return id;
  }

 private:
  Digest digest_;
};

template <typename Take>
bool read_through(int fd, const Take& take) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return true;
    if (!take(buffer.data(), static_cast<std::size_t>(got))) return false;
  }
}

}  // namespace

Settings read_settings(const OpenRepository& repository) {
  git_config* raw = nullptr;
  check(git_repository_config_snapshot(&raw, repository.handle.get()), "its configuration");
  const Config config(raw);
  return {.file_mode = flag_of(raw, "core.filemode", true),
          .symlinks = flag_of(raw, "core.symlinks", true),
          .sparse_checkout = flag_of(raw, "core.sparsecheckout", false)};
}

os::GitId blob_id(std::string_view content) {
  BlobHash hash(content.size());
  hash.add(content.data(), content.size());
  return hash.finish();
}

WorkFiles::WorkFiles(const OpenRepository& repository)
    : repository_(repository),
      settings_(read_settings(repository)),
      root_(::open(repository.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (!root_) throw Unreadable{"open " + repository.root.string() + ": " + std::strerror(errno)};
  git_config* raw = nullptr;
  check(git_repository_config_snapshot(&raw, repository.handle.get()), "its configuration");
  config_.reset(raw);
}

// Paths come sorted: most are in the directory of the one before.
int WorkFiles::directory_of(std::string_view path) {
  std::size_t level = 0;
  int fd = root_.get();
  for (;;) {
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return fd;
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(slash + 1);
    if (level == kKeptOpen) return deeper_directory(fd, name, path);
    if (level < levels_.size() && levels_[level].name != name) levels_.resize(level);
    if (level == levels_.size()) {
      Level next{.name = std::string(name), .fd = os::Fd(-1)};
      if (fd >= 0) next.fd.reset(::openat(fd, next.name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      levels_.push_back(std::move(next));
    }
    fd = levels_[level++].fd.get();
    if (fd < 0) return -1;
  }
}

int WorkFiles::deeper_directory(int fd, std::string_view name, std::string_view path) {
  for (;;) {
    os::Fd next(::openat(fd, std::string(name).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    deep_ = std::move(next);
    fd = deep_.get();
    const std::size_t slash = path.find('/');
    if (fd < 0 || slash == std::string_view::npos) return fd;
    name = path.substr(0, slash);
    path.remove_prefix(slash + 1);
  }
}

std::optional<struct ::stat> WorkFiles::status(std::string_view path) {
  const int directory = directory_of(path);
  if (directory < 0) return std::nullopt;
  const std::string name(path.substr(path.rfind('/') + 1));
  struct ::stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return info;
}

std::uint32_t WorkFiles::mode_of(const struct ::stat& info, std::uint32_t known) const {
  if (S_ISLNK(info.st_mode)) return os::kGitLink;
  const std::uint32_t type = known & os::kGitTypeMask;
  if (!settings_.symlinks && type == os::kGitLink) return os::kGitLink;
  if (!settings_.file_mode) return type == os::kGitFile ? known : os::kGitFile | 0644;
  return os::kGitFile | ((info.st_mode & 0100) != 0 ? 0755 : 0644);
}

os::Fd WorkFiles::open(std::string_view path) {
  const int directory = directory_of(path);
  const std::string name(path.substr(path.rfind('/') + 1));
  os::Fd fd(directory < 0
                ? -1
                : ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  struct ::stat info {};
  if (fd && (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))) fd.reset();
  return fd;
}

std::string WorkFiles::link_target(std::string_view path) {
  const int directory = directory_of(path);
  const std::string name(path.substr(path.rfind('/') + 1));
  std::array<char, PATH_MAX> target;
  const ssize_t length = directory < 0 ? -1 : ::readlinkat(directory, name.c_str(), target.data(), target.size());
  return length < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(length));
}

// libgit2 opens every .gitattributes on the way with a blocking open.
void WorkFiles::expect_readable_attributes(std::string_view path) {
  for (std::size_t slash = path.rfind('/');; slash = path.rfind('/', slash - 1)) {
    const std::string directory(slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash));
    const auto [at, is_new] = attributes_seen_.try_emplace(directory, true);
    std::string trouble;
    if (is_new && !os::is_readable_to_its_end(repository_.root / directory / ".gitattributes", trouble)) {
      attributes_seen_.erase(at);
      throw Unreadable{trouble};
    }
    if (slash == std::string_view::npos || slash == 0) return;
    if (!is_new) return;  // and so are those above
  }
}

bool WorkFiles::is_under_external_filter(const std::string& path, bool& lfs) {
  const char* value = nullptr;
  if (git_attr_get(&value, repository_.handle.get(), GIT_ATTR_CHECK_FILE_THEN_INDEX, path.c_str(), "filter") != 0)
    return false;
  if (git_attr_value(value) != GIT_ATTR_VALUE_STRING) return false;
  const std::string name = value;
  lfs = name == "lfs";
  const auto [at, is_new] = external_.try_emplace(name, false);
  if (is_new)
    for (const char* kind : {"clean", "process"}) {
      const char* program = nullptr;
      const std::string key = "filter." + name + "." + kind;
      if (git_config_get_string(&program, config_.get(), key.c_str()) == 0 && *program != '\0') at->second = true;
    }
  return at->second;
}

FilterList WorkFiles::filters_of(const std::string& path) {
  git_filter_list* raw = nullptr;
  check(git_filter_list_load(&raw, repository_.handle.get(), nullptr, path.c_str(), GIT_FILTER_TO_ODB,
                             GIT_FILTER_ALLOW_UNSAFE),
        "attributes of " + path);
  return FilterList(raw);
}

std::optional<os::GitId> WorkFiles::id_of_file(std::string_view path, std::uint32_t mode) {
  if (mode == os::kGitLink && settings_.symlinks) return blob_id(link_target(path));
  const std::string name(path);
  bool lfs = false;
  const bool link = mode == os::kGitLink;  // checked out as a file: never converted
  if (!link) expect_readable_attributes(path);
  const bool external = !link && is_under_external_filter(name, lfs);
  FilterList filters = link ? nullptr : filters_of(name);
  if (filters || external) {
    std::string content;
    if (content_of(path, mode, kConvertedLimit, content) != Content::kRead) return std::nullopt;
    return blob_id(content);
  }
  const os::Fd fd = open(path);
  struct ::stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return std::nullopt;
  BlobHash hash(static_cast<std::uint64_t>(info.st_size));
  if (!read_through(fd.get(), [&](const char* bytes, std::size_t size) { return hash.add(bytes, size), true; }))
    return std::nullopt;
  return hash.finish();
}

WorkFiles::Content WorkFiles::content_of(std::string_view path, std::uint32_t mode, std::size_t limit,
                                         std::string& content) {
  content.clear();
  if (mode == os::kGitLink && settings_.symlinks) {
    content = link_target(path);
    return Content::kRead;
  }
  const std::string name(path);
  bool lfs = false;
  bool external = false;
  if (mode != os::kGitLink) {
    expect_readable_attributes(path);
    external = is_under_external_filter(name, lfs);
    if (external && !lfs) return Content::kFiltered;
  }
  const os::Fd fd = open(path);
  struct ::stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return Content::kGone;
  if (external) {
    auto pointer = large_file_pointer(fd.get(), info.st_size);
    if (!pointer) return Content::kGone;
    content = std::move(*pointer);
    return Content::kRead;
  }
  if (info.st_size > static_cast<off_t>(limit)) return Content::kTooLarge;
  content.reserve(static_cast<std::size_t>(info.st_size));
  const bool read = read_through(fd.get(), [&](const char* bytes, std::size_t size) {
    content.append(bytes, size);
    return content.size() <= limit;
  });
  if (content.size() > limit) return Content::kTooLarge;
  if (!read) return Content::kGone;
  if (mode == os::kGitLink) return Content::kRead;
  const FilterList filters = filters_of(name);
  if (!filters) return Content::kRead;
  git_buf converted{};
  check(git_filter_list_apply_to_buffer(&converted, filters.get(), content.data(), content.size()),
        "line ends of " + name);
  content.assign(converted.ptr, converted.size);
  git_buf_dispose(&converted);
  return Content::kRead;
}

}  // namespace runner::git
