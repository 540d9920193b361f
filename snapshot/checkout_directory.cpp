#include "snapshot/checkout_directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecord = "record";
constexpr const char* kTree = "tree";

timespec timespec_of(UtcTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {.tv_sec = static_cast<time_t>(seconds.time_since_epoch().count()),
          .tv_nsec = static_cast<long>(std::chrono::nanoseconds(time - seconds).count())};
}

UtcTime modified(const fs::path& file) {
  struct ::stat info {};
  if (::stat(file.c_str(), &info) != 0) return {};
  return UtcTime(std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::microseconds(info.st_mtim.tv_nsec / 1000));
}

bool is_real_directory(const fs::path& path) {
  struct ::stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// A layer's own layers must be what they were when it was made over them. A checkout's content follows from its
// snapshot and the layers below it, so one that was evicted and came back in another shape shows here.
bool lies_on(const CheckoutDirectory::Found& top, const std::map<Hash, const CheckoutDirectory::Found*>& all) {
  const std::vector<Hash>& below = top.record.below;
  if (below.empty()) return true;
  const auto next = all.find(below.front());
  if (next == all.end() || !next->second->trusted) return false;
  const std::vector<Hash>& rest = next->second->record.below;
  return std::equal(below.begin() + 1, below.end(), rest.begin(), rest.end());
}

}  // namespace

CheckoutDirectory::Scan CheckoutDirectory::scan() const {
  Scan scan;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename();
    const auto snapshot = Hash::from_hex(name);
    if (!snapshot) {
      if (name.starts_with(".tmp-")) scan.leftovers.push_back(entry.path());
      continue;
    }
    Found found{.snapshot = *snapshot, .record = {}, .last_used = modified(entry.path() / kRecord)};
    std::optional<CheckoutRecord> record;
    try {
      if (const auto text = os::read_file_if_exists(entry.path() / kRecord, 1 << 16)) record = decode_record(*text);
    } catch (const Error&) {  // what cannot be read is not trusted
    }
    if (record) {
      found.trusted = (record->synced || record->boot == os::boot_id()) && is_real_directory(entry.path() / kTree);
      found.record = std::move(*record);
    }
    scan.found.push_back(std::move(found));
  }
  // From the bottom up: what a layer lies on has been judged before it is.
  std::sort(scan.found.begin(), scan.found.end(),
            [](const Found& a, const Found& b) { return a.record.below.size() < b.record.below.size(); });
  std::map<Hash, const Found*> all;
  for (Found& found : scan.found) {
    found.trusted = found.trusted && lies_on(found, all);
    all.emplace(found.snapshot, &found);
  }
  return scan;
}

fs::path CheckoutDirectory::tree(const Hash& snapshot) const { return directory_ / snapshot.hex() / kTree; }

fs::path CheckoutDirectory::tree_in(const fs::path& temporary) { return temporary / kTree; }

fs::path CheckoutDirectory::temporary_name() const {
  static std::atomic<unsigned> counter{0};
  return directory_ / (".tmp-" + std::to_string(::getpid()) + "-checkout-" + std::to_string(counter++));
}

fs::path CheckoutDirectory::make_temporary() const {
  for (;;) {
    const fs::path temporary = temporary_name();
    if (::mkdir(temporary.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;  // of an earlier process that had this pid
      throw errno_error(errno, "mkdir " + temporary.string());
    }
    if (::mkdir((temporary / kTree).c_str(), 0755) == 0) return temporary;
    const int failed = errno;
    ::rmdir(temporary.c_str());
    throw errno_error(failed, "mkdir " + (temporary / kTree).string());
  }
}

void CheckoutDirectory::publish(const fs::path& temporary, const Hash& snapshot, const CheckoutRecord& record) const {
  os::publish_file(temporary / kRecord, encode_record(record), os::Durability::kAtomic);
  const fs::path place = directory_ / snapshot.hex();
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, place.c_str(), RENAME_NOREPLACE) == 0) return;
  const int failed = errno;
  throw errno_error(failed, "rename to " + place.string(),
                    failed == EEXIST ? ErrorCode::kConflict : ErrorCode::kInternal);
}

fs::path CheckoutDirectory::retire(const Hash& snapshot) const {
  const fs::path place = directory_ / snapshot.hex();
  for (;;) {
    fs::path retired = temporary_name();
    if (::renameat2(AT_FDCWD, place.c_str(), AT_FDCWD, retired.c_str(), RENAME_NOREPLACE) == 0 || errno == ENOENT)
      return retired;
    if (errno != EEXIST) throw errno_error(errno, "rename " + place.string());
  }
}

bool CheckoutDirectory::remove(const fs::path& place, const std::stop_token& stop) {
  if (is_real_directory(place / kTree))
    for (const auto& entry : fs::directory_iterator(place / kTree)) {
      if (stop.stop_requested()) return false;
      os::remove_tree(entry.path());
    }
  os::remove_tree(place);
  return true;
}

void CheckoutDirectory::note_use(const Hash& snapshot, UtcTime time) const noexcept {
  const timespec times[2]{{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, timespec_of(time)};
  static_cast<void>(::utimensat(AT_FDCWD, (directory_ / snapshot.hex() / kRecord).c_str(), times, 0));
}

void CheckoutDirectory::sync() const {
  const os::Fd directory = os::open_file(directory_, O_RDONLY | O_DIRECTORY);
  if (::syncfs(directory.get()) != 0) throw errno_error(errno, "syncfs " + directory_.string());
}

void CheckoutDirectory::rewrite(const Hash& snapshot, const CheckoutRecord& record, UtcTime last_used) const {
  os::publish_file(directory_ / snapshot.hex() / kRecord, encode_record(record), os::Durability::kAtomic);
  note_use(snapshot, last_used);
}

}  // namespace runner::snapshot
