#include "runner/os/git_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "runner/os/fd.hpp"

namespace runner::os {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPackLimit = std::int64_t{1} << 50;  // packs are mapped, not read
constexpr std::int64_t kIndexLimit = std::int64_t{512} << 20;
constexpr std::int64_t kSmallFile = 1 << 20;  // bytes of a file that is looked into here
constexpr int kMaxFiles = 64;                 // configuration files, alternates

// The beginning of a regular file; nothing if it is none.
std::optional<std::string> beginning_of(const fs::path& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  struct ::stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  std::string content(static_cast<std::size_t>(std::min<std::int64_t>(info.st_size, kSmallFile)), '\0');
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = ::read(fd.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  return content;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return lines;
}

// A configuration value as git reads it: quotes and escapes go, a comment ends it.
std::string value_of(std::string_view raw) {
  std::string value;
  bool quoted = false;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const char c = raw[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (c == '\\' && i + 1 < raw.size()) {
      value.push_back(raw[++i]);
    } else if (!quoted && (c == '#' || c == ';')) {
      break;
    } else {
      value.push_back(c);
    }
  }
  return std::string(trimmed(value));
}

// As libgit2 does it: "~user/" is no home there.
fs::path expanded(const std::string& value, const fs::path& base) {
  if (!value.starts_with("~/")) return base / value;
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe): not changed after start
  return home == nullptr ? fs::path{} : fs::path(home) / value.substr(2);
}

// What a configuration makes git or libgit2 open: `path` of an include, core.attributesFile. The section is not looked
// at (a "[include]" may stand on the same line): a path that is none is stat'ed for nothing.
std::vector<fs::path> files_named_by(const std::string& configuration, const fs::path& base) {
  std::string text = configuration;  // a backslash at a line's end goes on in the next
  for (std::size_t at = 0; (at = text.find("\\\n", at)) != std::string::npos;) text.erase(at, 2);
  std::vector<fs::path> files;
  for (const std::string& line : lines_of(text)) {
    std::string lower = line;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const std::string_view key : {std::string_view("path"), std::string_view("attributesfile")})
      for (std::size_t at = lower.find(key); at != std::string::npos; at = lower.find(key, at + 1)) {
        const std::string_view rest = trimmed(std::string_view(line).substr(at + key.size()));
        if (!rest.starts_with('=')) continue;
        const std::string value = value_of(rest.substr(1));
        if (!value.empty() && value.find('\0') == std::string::npos) files.push_back(expanded(value, base));
      }
  }
  return files;
}

class Inspection {
 public:
  explicit Inspection(const fs::path& dot_git) { locate(dot_git); }

  GitFiles run() {
    if (files_.directory.empty() || !files_.trouble.empty()) return std::move(files_);
    for (const char* name : {"HEAD", "commondir", "gitdir", "shallow"}) require(files_.directory / name);
    require(files_.directory / "index", kIndexLimit);
    for (const char* name : {"HEAD", "packed-refs", "info/attributes", "info/exclude", "info/grafts", "shallow"})
      require(files_.common / name);
    configuration(files_.directory / "config.worktree", 0);
    configuration(files_.common / "config", 0);
    objects(files_.common / "objects", 0);
    return std::move(files_);
  }

 private:
  void locate(const fs::path& dot_git) {
    struct ::stat info {};
    if (::stat(dot_git.c_str(), &info) != 0) return;
    if (S_ISDIR(info.st_mode)) {
      files_.directory = dot_git;
    } else if (S_ISREG(info.st_mode)) {
      const auto content = beginning_of(dot_git);
      if (!content || !content->starts_with("gitdir:")) return;
      const std::string target(trimmed(std::string_view(*content).substr(7)));
      if (target.empty() || target.find('\0') != std::string::npos) return;
      files_.directory = dot_git.parent_path() / target;
    } else {
      return;  // git passes over it, too
    }
    files_.common = files_.directory;
    if (!require(files_.directory / "commondir")) return;
    if (const auto content = beginning_of(files_.directory / "commondir")) {
      const std::string target(trimmed(*content));
      if (!target.empty() && target.find('\0') == std::string::npos) files_.common = files_.directory / target;
    }
  }

  bool require(const fs::path& file, std::int64_t limit = 64 << 20) {
    return files_.trouble.empty() && is_readable_to_its_end(file, files_.trouble, limit);
  }

  void configuration(const fs::path& file, int depth) {
    if (++configurations_ > kMaxFiles || depth > 10) return;  // libgit2 stops at a depth of 10
    if (!require(file, kSmallFile)) return;
    const auto content = beginning_of(file);
    if (!content) return;
    for (const fs::path& named : files_named_by(*content, file.parent_path()))
      if (!named.empty()) configuration(named, depth + 1);
  }

  void objects(const fs::path& directory, int depth) {
    if (files_.object_directories.size() >= kMaxFiles || depth > 5) return;  // as git
    files_.object_directories.push_back(directory);
    for (const char* name : {"info/alternates", "info/commit-graph", "info/packs"})
      require(directory / name, kPackLimit);
    if (DIR* const packs = ::opendir((directory / "pack").c_str())) {
      while (const ::dirent* const entry = ::readdir(packs))  // NOLINT(concurrency-mt-unsafe): a stream of our own
        if (entry->d_type != DT_REG && entry->d_name[0] != '.') require(directory / "pack" / entry->d_name, kPackLimit);
      ::closedir(packs);
    }
    if (!files_.trouble.empty()) return;
    const auto alternates = beginning_of(directory / "info/alternates");
    if (!alternates) return;
    for (const std::string& line : lines_of(*alternates))
      if (!line.empty() && line[0] != '#' && line.find('\0') == std::string::npos) objects(directory / line, depth + 1);
  }

  GitFiles files_;
  int configurations_ = 0;
};

}  // namespace

GitFiles inspect_git_files(const fs::path& dot_git) { return Inspection(dot_git).run(); }

bool is_readable_to_its_end(const fs::path& file, std::string& trouble, std::int64_t limit) {
  struct ::stat info {};
  if (::stat(file.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) return true;
  const char* what = nullptr;
  struct ::statfs system {};
  if (S_ISFIFO(info.st_mode))
    what = "is a FIFO";
  else if (S_ISSOCK(info.st_mode))
    what = "is a socket";
  else if (!S_ISREG(info.st_mode))
    what = "is a device";
  else if (info.st_size > limit)
    what = "is too large";
  else if (info.st_size == 0 && ::statfs(file.c_str(), &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC || system.f_type == TRACEFS_MAGIC))
    what = "is no file of a disk";
  if (what == nullptr) return true;
  trouble = file.lexically_normal().string() + " " + what;
  return false;
}

}  // namespace runner::os
