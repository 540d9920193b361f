#include "snapshot/scope.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "snapshot/file_reader.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

// An ignore file of more than this is refused; a real one has a few kilobytes.
constexpr std::size_t kIgnoreFileLimit = std::size_t{64} << 20;

std::string read_all(int fd, const std::string& shown) {
  std::string content;
  std::array<char, 8192> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read " + shown);
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > kIgnoreFileLimit) throw Error(ErrorCode::kInvalid, shown + ": too large for an ignore file");
  }
}

bool exists_at(int directory_fd, const char* name) {
  struct ::stat info {};
  return ::fstatat(directory_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

// A directory of that name is no ignore file: it does not silence the others.
bool has_ignore_file(int directory_fd, const char* name) {
  struct ::stat info {};
  return ::fstatat(directory_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(info.st_mode);
}

// Whether open(2) failed because of the file. Anything else (no descriptor left, a disk that fails) must not pass for
// "no rules": that would let in what is to stay out.
bool is_absent(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO || error == ENAMETOOLONG;
}

// The whole of it, not some lines of one version and some of another.
std::string read_rules(int fd, const std::string& shown) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    struct ::stat before {};
    struct ::stat after {};
    if (::fstat(fd, &before) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) throw errno_error(errno, "read " + shown);
    std::string content = read_all(fd, shown);
    if (::fstat(fd, &after) != 0) throw errno_error(errno, "read " + shown);
    if (stamp_of(before) == stamp_of(after)) return content;
  }
  throw Error(ErrorCode::kInvalid, shown + ": kept changing while it was read", "wait until nothing writes to it");
}

// A file outside the walk: .git/info/exclude, core.excludesFile. Links are followed, as git does; what may not be read
// counts as absent.
RuleFile read_fallback(const fs::path& path, std::string shown, bool ignore_case) {
  std::string content;
  const os::Fd fd(path.empty() ? -1 : ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd && !path.empty() && !is_absent(errno) && errno != EACCES && errno != EPERM)
    throw errno_error(errno, "open " + shown);
  struct ::stat info {};
  if (fd && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode)) content = read_rules(fd.get(), shown);
  return RuleFile(std::move(shown), content, ignore_case);
}

}  // namespace

Scope::Scope(const Options& options, std::string ignore_name) : ignore_name_(std::move(ignore_name)) {
  open_source(options);
  if (ignore_name_.empty()) ignore_name_ = has_ignore_file(root_->get(), ".amlignore") ? ".amlignore" : ".gitignore";
  auto tree = options.alone ? std::nullopt : find_work_tree(source_);
  root_place_.index = std::make_shared<TrackedPaths>();
  in_work_tree_ = tree.has_value();
  if (tree) {
    if (!tree->warning.empty()) warn(tree->warning);
    root_place_.domain = domain_of(*tree);
    root_place_.index = std::make_shared<TrackedPaths>(std::move(tree->tracked));
    root_place_.tracked = root_place_.index->all();
    enter_leading_directories(*tree);
  } else {
    root_place_.domain = std::make_shared<RuleDomain>(RuleDomain{.ignore_name = ignore_name_, .fallbacks = {}});
  }
  read_ignore_file(root_place_, root_->get(), "");
}

void Scope::open_source(const Options& options) {
  const int fd = ::open(options.source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    const std::string what = "source directory " + options.source.string();
    if (errno == ENOTDIR) throw Error(ErrorCode::kInvalid, what + ": not a directory");
    throw errno_error(errno, what);
  }
  root_ = std::make_shared<os::Fd>(fd);
  std::error_code error;
  source_ = fs::canonical(options.source, error);
  if (error) throw errno_error(error.value(), "source directory " + options.source.string());
  struct ::stat info {};
  if (!options.data_directory.empty() && ::stat(options.data_directory.c_str(), &info) == 0) {
    data_device_ = info.st_dev;
    data_inode_ = info.st_ino;
  }
  if (is_data_directory(fd))
    throw Error(ErrorCode::kInvalid,
                "source directory " + options.source.string() + ": it is the runner's data directory");
  if (is_environment(fd))
    warn("the source directory is itself a virtual environment: all of it is in unless an ignore file says otherwise");
}

std::shared_ptr<const RuleDomain> Scope::domain_of(const WorkTree& tree) const {
  RuleDomain domain{.ignore_name = ignore_name_, .ignore_case = tree.ignore_case, .fallbacks = {}};
  if (ignore_name_ == ".gitignore") {
    const bool at_source = tree.root == source_;
    domain.fallbacks.push_back(read_fallback(
        tree.info_exclude, at_source ? ".git/info/exclude" : tree.info_exclude.string(), tree.ignore_case));
    domain.fallbacks.push_back(read_fallback(tree.excludes_file, tree.excludes_file.string(), tree.ignore_case));
    std::erase_if(domain.fallbacks, [](const RuleFile& file) { return file.empty(); });
  }
  return std::make_shared<RuleDomain>(std::move(domain));
}

// The source directory is deeper in the work tree: its parents' ignore files count, and may ignore it altogether.
void Scope::enter_leading_directories(const WorkTree& tree) {
  std::string_view rest = tree.prefix;
  fs::path directory = tree.root;
  std::string shown;
  for (std::size_t levels = static_cast<std::size_t>(std::count(rest.begin(), rest.end(), '/')); levels > 0; --levels)
    shown += "../";
  while (!rest.empty()) {
    if (!root_place_.tracked_only) {
      const os::Fd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (fd) read_ignore_file(root_place_, fd.get(), shown);
    }
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size() + 1);
    const Decision decision = decide(root_place_, name, true);
    if (!root_place_.tracked_only && (decision.tracked_only || !decision.included)) {
      root_decision_ = decision;
      root_place_.tracked_only = true;
    }
    root_place_.tracked = root_place_.index->below(root_place_.tracked, name);
    root_place_.path += name + "/";
    directory /= name;
    shown.erase(0, 3);
  }
}

void Scope::read_ignore_file(Place& place, int directory_fd, const std::string& shown) {
  if (place.tracked_only) return;
  const std::string& name = place.domain->ignore_name;
  const os::Fd fd(::openat(directory_fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    const int error = errno;
    if (error == EACCES || error == EPERM)
      add_unreadable(shown + name);
    else if (!is_absent(error))
      throw errno_error(error, "open " + shown + name);
    if (error == ELOOP) warn(shown + name + " is a symbolic link: not followed, as git does not");
    return;
  }
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return;
  RuleFile file(shown + name, read_rules(fd.get(), shown + name), place.domain->ignore_case);
  if (file.empty()) return;
  place.rules = std::make_shared<RuleFrame>(
      RuleFrame{.outer = std::move(place.rules), .file = std::move(file), .base = place.path.size()});
}

// The rule that speaks about an entry, innermost file first. Most paths fit on the stack.
Scope::Ruling Scope::ruling(const Place& place, std::string_view name, bool is_directory) const {
  if (!place.rules && place.domain->fallbacks.empty()) return {};
  std::array<char, 1024> buffer;
  std::string long_path;
  std::string_view path;
  if (place.path.size() + name.size() <= buffer.size()) {
    std::memcpy(buffer.data(), place.path.data(), place.path.size());
    std::memcpy(buffer.data() + place.path.size(), name.data(), name.size());
    path = {buffer.data(), place.path.size() + name.size()};
  } else {
    long_path.append(place.path).append(name);
    path = long_path;
  }
  for (const RuleFrame* frame = place.rules.get(); frame != nullptr; frame = frame->outer.get())
    if (const Rule* rule = frame->file.decide(path.substr(frame->base), name, is_directory))
      return {.rule = rule, .file = &frame->file};
  for (const RuleFile& file : place.domain->fallbacks)
    if (const Rule* rule = file.decide(path, name, is_directory)) return {.rule = rule, .file = &file};
  return {};
}

Decision Scope::decide(const Place& place, std::string_view name, bool is_directory) const {
  Decision decision;
  decision.tracked = place.index->find(place.tracked, name);
  if (!is_directory && decision.tracked != TrackedPaths::Kind::kNone) {  // a file in a submodule's place, too
    decision.included = true;
    return decision;
  }
  if (place.tracked_only) {
    decision.tracked_only = true;
  } else {
    const Ruling found = ruling(place, name, is_directory);
    decision.rule = found.rule;
    decision.file = found.file;
    decision.tracked_only = decision.rule != nullptr && !decision.rule->negated();
  }
  decision.included = !decision.tracked_only;
  if (is_directory && decision.tracked_only)
    decision.included =
        decision.tracked == TrackedPaths::Kind::kRepository || !place.index->below(place.tracked, name).empty();
  return decision;
}

bool Scope::includes_file(const Place& place, std::string_view name) const {
  if (!place.tracked_only) {
    const Rule* rule = ruling(place, name, false).rule;
    if (rule == nullptr || rule->negated()) return true;
  }
  return place.index->find(place.tracked, name) != TrackedPaths::Kind::kNone;  // a file in a submodule's place, too
}

void Scope::warn(std::string warning) {
  const std::lock_guard lock(mutex_);
  warnings_.push_back(std::move(warning));
}

void Scope::add_unreadable(std::string path) {
  const std::lock_guard lock(mutex_);
  unreadable_.push_back(std::move(path));
}

std::vector<std::string> Scope::take_warnings() {
  const std::lock_guard lock(mutex_);
  std::sort(warnings_.begin(), warnings_.end());  // the walk's order is the threads'
  return std::move(warnings_);
}

std::vector<std::string> Scope::take_unreadable() {
  const std::lock_guard lock(mutex_);
  return std::move(unreadable_);
}

Place Scope::enter(const Place& parent, std::string_view name, const Decision& decision, int directory_fd,
                   const std::string& shown, bool has_dot_git) {
  Place place{.domain = parent.domain,
              .rules = parent.rules,
              .index = parent.index,
              .tracked = parent.index->below(parent.tracked, name),
              .path = parent.path + std::string(name) + "/",
              .tracked_only = decision.tracked_only};
  // A repository in the repository, unless the outer one tracks files in it. Its files are content like any other;
  // which of them are in is for its own rules to say. An .amlignore at the root speaks for the whole tree.
  if (has_dot_git && place.tracked.empty()) {
    if (auto tree = open_work_tree(source_ / shown.substr(0, shown.size() - 1)); tree && tree->prefix.empty()) {
      if (!tree->warning.empty()) warn(shown + ": " + tree->warning);
      place.index = std::make_shared<TrackedPaths>(std::move(tree->tracked));
      place.tracked = place.index->all();
      place.tracked_only = false;
      if (ignore_name_ == ".gitignore") {
        place.domain = domain_of(*tree);
        place.rules = nullptr;
        place.path.clear();
      }
    }
  }
  read_ignore_file(place, directory_fd, shown);
  return place;
}

bool Scope::is_git_name(const Place& place, std::string_view name) const {
  return equal_bytes(name, ".git", place.domain->ignore_case);
}

bool Scope::is_environment(int directory_fd) const {
  struct ::stat info {};
  return exists_at(directory_fd, "pyvenv.cfg") ||
         (::fstatat(directory_fd, "conda-meta", &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode));
}

bool Scope::is_data_directory(int directory_fd) const {
  struct ::stat info {};
  return data_inode_ != 0 && ::fstat(directory_fd, &info) == 0 && info.st_ino == data_inode_ &&
         info.st_dev == data_device_;
}

void throw_if_unreadable(std::vector<std::string> unreadable) {
  if (unreadable.empty()) return;
  std::sort(unreadable.begin(), unreadable.end());
  unreadable.erase(std::unique(unreadable.begin(), unreadable.end()), unreadable.end());
  std::string message = unreadable.size() == 1 ? "this file cannot be read: " : "these files cannot be read: ";
  for (std::size_t at = 0; at < unreadable.size(); ++at) message += (at == 0 ? "" : ", ") + unreadable[at];
  throw Error(ErrorCode::kPermission, message, "make them readable, or name them in the ignore file");
}

}  // namespace runner::snapshot
