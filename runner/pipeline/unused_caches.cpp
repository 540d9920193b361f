#include "runner/pipeline/unused_caches.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include "snapshot/stat_cache_source.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

std::int64_t disk_bytes(const fs::path& path) {
  constexpr std::int64_t kBlock = 512;  // of st_blocks
  struct ::stat info {};
  std::int64_t bytes = ::lstat(path.c_str(), &info) == 0 ? kBlock * static_cast<std::int64_t>(info.st_blocks) : 0;
  if (!S_ISDIR(info.st_mode)) return bytes;
  std::error_code ignored;  // somebody may be removing it
  for (fs::recursive_directory_iterator at(path, ignored), end; at != end; at.increment(ignored))
    if (::lstat(at->path().c_str(), &info) == 0) bytes += kBlock * static_cast<std::int64_t>(info.st_blocks);
  return bytes;
}

// The process that made ".tmp-PID-…" or ".tmp-WORD-PID-…".
std::optional<pid_t> maker_of(std::string_view name) {
  name.remove_prefix(std::string_view(".tmp-").size());
  if (const auto dash = name.find('-'); !name.empty() && (name[0] < '0' || name[0] > '9') && dash != name.npos)
    name.remove_prefix(dash + 1);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end == name.data()) return std::nullopt;
  return pid;
}

bool is_gone(const fs::path& directory) {
  struct ::stat info {};
  return ::stat(directory.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

}  // namespace

std::vector<UnusedCache> find_unused_caches(const os::DataDirectory& data) {
  std::vector<UnusedCache> found;
  for (const fs::path& directory : {data.home(), data.checkouts(), data.roots(), data.cache()}) {
    std::error_code missing;
    for (const auto& entry : fs::directory_iterator(directory, missing)) {
      const std::string name = entry.path().filename();
      const auto add = [&](const char* kind, std::string reason) {
        found.push_back({entry.path(), kind, disk_bytes(entry.path()), std::move(reason)});
      };
      // What this process makes may be in the making. One that belongs to nobody we know stays: it is none of ours.
      if (name.starts_with(".tmp-")) {
        if (const auto maker = maker_of(name); maker && *maker != ::getpid())
          add("temporary", "left by process " + std::to_string(*maker) + ", which is gone");
      } else if (directory == data.cache() && name.starts_with("stat-")) {
        const auto source = snapshot::stat_cache_source(entry.path());
        if (!source)
          add("statCache", "not a stat cache of this version");
        else if (is_gone(*source))
          add("statCache", "its source directory " + source->string() + " is gone");
      }
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return found;
}

}  // namespace runner::pipeline
