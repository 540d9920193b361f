#include "runner/os/git_index.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

namespace runner::os {
namespace {

constexpr std::size_t kSizeLimit = std::size_t{512} << 20;  // some five million files
constexpr std::size_t kIdSize = 20;
constexpr std::size_t kFixedSize = 62;  // of an entry in front of its name, versions 2 and 4
constexpr int kDepthLimit = 2048;       // of cached trees: PATH_MAX / 2

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorCode::kInvalid, "the index is damaged: " + what);
}

std::uint32_t number(const char* at, int bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(at[i]);
  return value;
}

// Whether a name is one that git itself would never check out. (".GIT" is .git where case does not count.)
bool is_refused_component(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return true;
  return name.size() == 4 && name[0] == '.' && (name[1] | 32) == 'g' && (name[2] | 32) == 'i' && (name[3] | 32) == 't';
}

bool is_safe_path(std::string_view path) {
  for (;;) {
    const std::size_t slash = path.find('/');
    if (is_refused_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

GitId id_at(const char* at) {
  GitId id;
  std::memcpy(id.data(), at, kIdSize);
  return id;
}

}  // namespace

GitIndex GitIndex::read(const std::filesystem::path& file) {
  GitIndex index;
  const Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd && errno == ENOENT) return index;
  if (!fd) throw errno_error(errno, "open " + file.string());
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0) throw errno_error(errno, "stat " + file.string());
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::kInvalid, "the index is no regular file");
  if (info.st_size > static_cast<off_t>(kSizeLimit)) throw Error(ErrorCode::kInvalid, "the index exceeds 512 MiB");
  index.written_seconds_ = info.st_mtim.tv_sec;
  index.content_.resize(static_cast<std::size_t>(info.st_size));
  std::size_t filled = 0;
  while (filled < index.content_.size()) {
    const ssize_t got = ::read(fd.get(), index.content_.data() + filled, index.content_.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read " + file.string());
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  index.content_.resize(filled);
  index.read_content();
  return index;
}

GitIndex GitIndex::parse(std::string content) {
  GitIndex index;
  index.content_.assign(content.begin(), content.end());
  index.read_content();
  return index;
}

void GitIndex::read_content() {
  const std::size_t size = content_.size();
  if (size < 12 + kIdSize || std::memcmp(content_.data(), "DIRC", 4) != 0) damaged("no index");
  const std::uint32_t version = number(content_.data() + 4, 4);
  if (version < 2 || version > 4)
    throw Error(ErrorCode::kInvalid, "the index has the unknown version " + std::to_string(version));
  const std::size_t end = size - kIdSize;  // git writes a hash there and does not check it either
  const std::size_t count = number(content_.data() + 8, 4);
  if (count > (end - 12) / kFixedSize) damaged(std::to_string(count) + " entries do not fit in it");
  const std::size_t at = read_entries(count, version, end);
  read_extensions(at, end);
}

std::size_t GitIndex::read_entries(std::size_t count, std::uint32_t version, std::size_t end) {
  entries_.reserve(count);
  std::size_t at = 12;
  std::size_t expanded_bytes = 0;
  const char* const base = content_.data();
  std::string_view previous;
  for (std::size_t i = 0; i < count; ++i) {
    if (end - at < kFixedSize + 1) damaged("it ends within an entry");
    const char* const fixed = base + at;
    const std::uint32_t flags = number(fixed + 60, 2);
    GitIndexEntry entry{.path = {},
                        .mode = number(fixed + 24, 4),
                        .id = id_at(fixed + 40),
                        .stage = static_cast<int>(flags >> 12 & 3),
                        .assume_valid = (flags & 0x8000) != 0,
                        .ctime_seconds = number(fixed, 4),
                        .ctime_nanoseconds = number(fixed + 4, 4),
                        .mtime_seconds = number(fixed + 8, 4),
                        .mtime_nanoseconds = number(fixed + 12, 4),
                        .device = number(fixed + 16, 4),
                        .inode = number(fixed + 20, 4),
                        .uid = number(fixed + 28, 4),
                        .gid = number(fixed + 32, 4),
                        .size = number(fixed + 36, 4)};
    std::size_t name_at = at + kFixedSize;
    if ((flags & 0x4000) != 0) {
      if (version == 2) damaged("an extended entry in version 2");
      const std::uint32_t more = number(base + name_at, 2);
      name_at += 2;
      entry.skip_worktree = (more & 0x4000) != 0;
      entry.intent_to_add = (more & 0x2000) != 0;
    }
    std::size_t kept = 0;
    if (version == 4) {  // how much of the previous path goes: git's variable-length number
      std::size_t dropped = 0;
      for (int digit = 0;; ++digit) {
        if (name_at >= end || digit > 4) damaged("a path in it");
        const auto byte = static_cast<unsigned char>(base[name_at++]);
        dropped = (digit == 0 ? 0 : (dropped + 1) << 7) + (byte & 127);
        if ((byte & 128) == 0) break;
      }
      if (dropped > previous.size()) damaged("a path in it");
      kept = previous.size() - dropped;
    }
    if (name_at >= end) damaged("it ends within an entry");
    const void* const zero = std::memchr(base + name_at, 0, end - name_at);
    if (zero == nullptr) damaged("it ends within a path");
    const std::size_t length = static_cast<std::size_t>(static_cast<const char*>(zero) - (base + name_at));
    entry.path = {base + name_at, length};
    if (version == 4) {
      // No longer path can be in a work tree, and prefixes could add up to anything.
      if (kept + length >= PATH_MAX) damaged("a path in it");
      expanded_bytes += kept + length;
      if (expanded_bytes > 64 * content_.size() + (std::size_t{64} << 20)) damaged("its paths");
      entry.path = expanded_.emplace_back(std::string(previous.substr(0, kept)).append(entry.path));
      at = name_at + length + 1;
    } else {
      at += (name_at - at + length + 8) & ~std::size_t{7};
    }
    if (at > end) damaged("it ends within an entry");
    const bool directory = entry.type() == kGitTree;
    if (directory) sparse_ = true;
    if (directory != entry.path.ends_with('/') ||
        !is_safe_path(directory ? entry.path.substr(0, entry.path.size() - 1) : entry.path))
      damaged("the path '" + std::string(entry.path.substr(0, 256)) + "' is in it");
    if (i > 0 && (previous > entry.path || (previous == entry.path && entries_.back().stage >= entry.stage)))
      damaged("its entries are not sorted");
    previous = entry.path;
    entries_.push_back(entry);
  }
  return at;
}

void GitIndex::read_extensions(std::size_t at, std::size_t end) {
  while (end - at >= 8) {
    const std::string_view name(content_.data() + at, 4);
    const std::size_t size = number(content_.data() + at + 4, 4);
    if (size > end - at - 8) damaged("an extension does not fit in it");
    if (name == "TREE") read_trees({content_.data() + at + 8, size});
    if (name == "link")
      throw Error(ErrorCode::kInvalid, "the index is split", "`git update-index --no-split-index` makes it whole");
    if (name[0] >= 'a' && name[0] <= 'z' && name != "sdir" && name != "link")
      throw Error(ErrorCode::kInvalid, "the index has an unknown extension");
    at += 8 + size;
  }
}

// NAME \0 COUNT ' ' SUBTREES '\n' [ID if COUNT is not negative], then the subtrees. What does not parse counts as
// absent: the cache saves work, no more.
void GitIndex::read_trees(std::string_view extension) {
  std::vector<std::pair<std::size_t, std::size_t>> open;  // tree, children still to come
  std::vector<GitCachedTree> trees;
  while (!extension.empty()) {
    const std::size_t zero = extension.find('\0');
    const std::size_t newline = extension.find('\n', zero == std::string_view::npos ? zero : zero + 1);
    if (newline == std::string_view::npos) return;
    long count = 0;
    std::size_t children = 0;
    const char* const first = extension.data() + zero + 1;
    const char* const last = extension.data() + newline;
    const auto counted = std::from_chars(first, last, count);
    if (counted.ec != std::errc{} || counted.ptr == last || *counted.ptr != ' ') return;
    const auto below = std::from_chars(counted.ptr + 1, last, children);
    if (below.ec != std::errc{} || below.ptr != last || children > extension.size()) return;
    GitCachedTree tree{.name = extension.substr(0, zero), .id = {}, .children = children, .next = 0};
    extension.remove_prefix(newline + 1);
    if (count >= 0) {
      if (extension.size() < kIdSize) return;
      tree.id = id_at(extension.data());
      extension.remove_prefix(kIdSize);
    }
    if (open.empty() && !trees.empty()) return;  // a second root
    if (open.size() > kDepthLimit) return;
    if (!open.empty()) --open.back().second;
    trees.push_back(tree);
    open.emplace_back(trees.size() - 1, children);
    while (!open.empty() && open.back().second == 0) {
      trees[open.back().first].next = trees.size();
      open.pop_back();
    }
  }
  if (open.empty()) trees_ = std::move(trees);
}

GitIndex::Range GitIndex::below(std::string_view prefix) const {
  const auto first = std::lower_bound(entries_.begin(), entries_.end(), prefix,
                                      [](const GitIndexEntry& entry, std::string_view p) { return entry.path < p; });
  const auto last = std::partition_point(first, entries_.end(),
                                         [&](const GitIndexEntry& entry) { return entry.path.starts_with(prefix); });
  return {static_cast<std::size_t>(first - entries_.begin()), static_cast<std::size_t>(last - entries_.begin())};
}

}  // namespace runner::os
