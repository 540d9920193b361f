#include "envs/probe_cache.hpp"

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;

constexpr int kVersion = 2;

struct Stamp {
  std::int64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  bool operator==(const Stamp&) const = default;
};

std::optional<Stamp> stamp_of(const std::string& path) {
  struct ::stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  return Stamp{.size = info.st_size,
               .mtime_ns = info.st_mtim.tv_sec * kNanoseconds + info.st_mtim.tv_nsec,
               .inode = info.st_ino};
}

bool unchanged(const json& watched) {
  const auto now = stamp_of(watched.at(0).get_ref<const std::string&>());
  if (watched.size() == 1) return !now;
  return now && *now == Stamp{.size = whole_number<std::int64_t>(watched.at(1)),
                              .mtime_ns = whole_number<std::int64_t>(watched.at(2)),
                              .inode = whole_number<std::uint64_t>(watched.at(3))};
}

}  // namespace

std::filesystem::path ProbeCache::file_of(const std::string& key) const {
  return directory_ / (digest_of(key).hex() + ".json");
}

std::optional<std::string> ProbeCache::find(const std::string& key) const {
  try {
    const auto text = os::read_file_if_exists(file_of(key));
    if (!text) return std::nullopt;
    const json file = json::parse(*text);
    if (file.at("version") != kVersion || file.at("key") != key) return std::nullopt;
    for (const json& watched : file.at("watch"))
      if (!unchanged(watched)) return std::nullopt;
    return file.at("answer").dump();
  } catch (const json::exception&) {
    return std::nullopt;  // damaged: only a memory
  } catch (const Error&) {
    return std::nullopt;  // unreadable: the same
  }
}

void ProbeCache::remember(const std::string& key, const std::string& answer, const std::vector<std::string>& watch,
                          UtcTime asked) const {
  // The kernel stamps files with its tick, up to 10 ms behind the clock that `asked` was read from.
  constexpr std::chrono::milliseconds kTick{10};
  const std::int64_t since = std::chrono::nanoseconds((asked - kTick).time_since_epoch()).count();
  const std::int64_t until = std::chrono::nanoseconds((utc_now() + kTick).time_since_epoch()).count();
  json stamps = json::array();
  for (const std::string& path : std::set<std::string>(watch.begin(), watch.end())) {
    const auto stamp = stamp_of(path);
    if (!stamp) {
      stamps.push_back(json::array({path}));
      continue;
    }
    if (stamp->mtime_ns >= since && stamp->mtime_ns <= until) return;
    stamps.push_back(json::array({path, stamp->size, stamp->mtime_ns, stamp->inode}));
  }
  const json file{{"version", kVersion}, {"key", key}, {"answer", json::parse(answer)}, {"watch", stamps}};
  try {
    os::make_directories(directory_);
    os::publish_file(file_of(key), file.dump(), os::Durability::kAtomic);
  } catch (const Error&) {
    // A full or read-only disk costs the next call 20 ms, not this one its answer.
  }
}

}  // namespace runner::envs
