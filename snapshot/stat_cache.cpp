#include "snapshot/stat_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

constexpr std::string_view kMagic = "runner stat cache 2\n";
constexpr std::size_t kLimit = std::size_t{2} << 30;  // bytes; about twenty million files
constexpr std::size_t kCheck = 16;                    // bytes of SHA-256
constexpr std::size_t kSpill = std::size_t{2} << 20;  // bytes of records kept in memory
// A file is written anew when more than half of it, and more than this, would be out of date.
constexpr std::size_t kDeadWorth = std::size_t{256} << 10;

constexpr std::size_t kFilesAt = 4 + kCheck + 8 + 32;  // of `files32` in a record

using Check = std::array<char, kCheck>;

Check check_of(std::string_view bytes) {
  const Hash hash = sha256(bytes);
  Check check;
  std::memcpy(check.data(), hash.bytes.data(), check.size());
  return check;
}

// The front of a byte string; every `take` says whether there was enough.
template <typename T>
bool take(std::string_view& rest, T& value) {
  if (rest.size() < sizeof value) return false;
  std::memcpy(&value, rest.data(), sizeof value);
  rest.remove_prefix(sizeof value);
  return true;
}

bool take_bytes(std::string_view& rest, std::size_t length, std::string_view& bytes) {
  if (rest.size() < length) return false;
  bytes = rest.substr(0, length);
  rest.remove_prefix(length);
  return true;
}

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append(std::string& bytes, const Hash& hash) {
  bytes.append(reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size());
}

std::string make_header(const std::filesystem::path& source) {
  std::string header(kMagic);
  append(header, static_cast<std::uint32_t>(source.native().size()));
  header += source.native();
  const Check check = check_of(header);
  return header.append(check.data(), check.size());
}

}  // namespace

// Reading
// -----------------------------------------------------------------------------------------------

StatCache::StatCache(std::filesystem::path path, const std::filesystem::path& source)
    : path_(std::move(path)), header_(make_header(source)) {
  if (path_.empty()) return;
  try {
    auto read = os::read_file_if_exists(path_, kLimit);
    if (!read) return;
    bytes_ = std::move(*read);
  } catch (const Error&) {  // an adapter's catch: whatever the reason, there is no cache
    return;
  }
  usable_ = bytes_.starts_with(header_);
  if (usable_) parse();
}

// Finds the records; what stands in them is checked when it is asked for. A length that is wrong makes nonsense of what
// follows, none of which passes its check.
void StatCache::parse() {
  std::string_view rest = std::string_view(bytes_).substr(header_.size());
  while (!rest.empty()) {
    const std::size_t at = bytes_.size() - rest.size();
    std::uint32_t length = 0;
    std::string_view record;
    std::uint32_t path_length = 0;
    std::string_view path;
    if (!take(rest, length) || !take_bytes(rest, length, record)) {
      damaged_ = true;  // a torn end: what is appended behind it would not be found
      return;
    }
    std::string_view fields = record;
    if (!take_bytes(fields, kFilesAt - 4 + 8, path) || !take(fields, path_length) ||
        !take_bytes(fields, path_length, path)) {
      damaged_ = true;
      continue;
    }
    places_.insert_or_assign(path, Place{.at = at, .size = sizeof length + record.size()});
  }
}

std::optional<StatCache::Record> StatCache::find(std::string_view path) const {
  auto record = peek(path);
  if (record) places_.find(path)->second.used = true;
  return record;
}

std::optional<StatCache::Record> StatCache::peek(std::string_view path) const {
  const auto found = places_.find(path);
  if (found == places_.end()) return std::nullopt;
  const Place& place = found->second;
  std::string_view rest = std::string_view(bytes_).substr(place.at + sizeof(std::uint32_t), place.size - 4);
  Check check;
  Hash tree;
  std::uint32_t files = 0;
  std::uint32_t directories = 0;
  Record record;
  take(rest, check);
  if (check_of(rest) != check) {
    damaged_ = true;
    return std::nullopt;
  }
  take(rest, record.generation);
  take(rest, tree.bytes);
  take(rest, files);
  take(rest, directories);
  rest.remove_prefix(sizeof(std::uint32_t) + path.size());
  if (tree != Hash{}) record.tree = tree;
  record.files = files;
  record.directories = directories;
  record.rest_ = rest;
  return record;
}

bool StatCache::Record::next_file(File& file) {
  std::uint16_t length = 0;
  return take(rest_, length) && take(rest_, file.stamp.size) && take(rest_, file.stamp.modified) &&
         take(rest_, file.stamp.changed) && take(rest_, file.stamp.inode) && take(rest_, file.stamp.mode) &&
         take(rest_, file.content.bytes) && take_bytes(rest_, length, file.name);
}

bool StatCache::Record::next_directory(Subdirectory& directory) {
  std::uint16_t length = 0;
  return take(rest_, length) && take(rest_, directory.tree.bytes) && take_bytes(rest_, length, directory.name);
}

// Writing
// -----------------------------------------------------------------------------------------------

StatRecord::StatRecord(std::string_view path, std::uint64_t generation, const std::optional<Hash>& tree) {
  bytes_.append(4 + kCheck, '\0');
  append(bytes_, generation);
  append(bytes_, tree.value_or(Hash{}));
  append(bytes_, std::uint64_t{0});  // the two counts
  append(bytes_, static_cast<std::uint32_t>(path.size()));
  bytes_ += path;
}

void StatRecord::add_file(std::string_view name, const FileStamp& stamp, const Hash& content) {
  append(bytes_, static_cast<std::uint16_t>(name.size()));
  append(bytes_, stamp.size);
  append(bytes_, stamp.modified);
  append(bytes_, stamp.changed);
  append(bytes_, stamp.inode);
  append(bytes_, stamp.mode);
  append(bytes_, content);
  bytes_ += name;
  ++files_;
}

void StatRecord::add_directory(std::string_view name, const Hash& tree) {
  append(bytes_, static_cast<std::uint16_t>(name.size()));
  append(bytes_, tree);
  bytes_ += name;
  ++directories_;
}

std::string StatRecord::finish() {
  if (bytes_.size() > UINT32_MAX) return {};  // tens of millions of files in one directory: not cached
  const auto length = static_cast<std::uint32_t>(bytes_.size() - 4);
  std::memcpy(bytes_.data(), &length, sizeof length);
  std::memcpy(bytes_.data() + kFilesAt, &files_, sizeof files_);
  std::memcpy(bytes_.data() + kFilesAt + 4, &directories_, sizeof directories_);
  const Check check = check_of(std::string_view(bytes_).substr(4 + kCheck));
  std::memcpy(bytes_.data() + 4, check.data(), check.size());
  return std::move(bytes_);
}

StatCacheUpdate::~StatCacheUpdate() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void StatCacheUpdate::add(std::string_view path, std::string record) {
  if (cache_.path_.empty()) return;
  if (const auto old = cache_.places_.find(path); old != cache_.places_.end()) {
    const StatCache::Place& place = old->second;
    if (place.used && record == std::string_view(cache_.bytes_).substr(place.at, place.size)) return;
    place.used = false;
  }
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  records_ += record;
  if (records_.size() < kSpill) return;
  try {
    spill();
  } catch (const Error&) {  // an adapter's catch: no cache is no reason to fail
    failed_ = true;
    records_ = {};
  }
}

void StatCacheUpdate::spill() {
  static std::atomic<unsigned> counter{0};
  if (!file_) {
    // Recovery knows the prefix as what a crash left behind.
    const auto temporary =
        cache_.path_.parent_path() / (".tmp-" + std::to_string(::getpid()) + "-stat-" + std::to_string(counter++));
    file_ = os::open_file(temporary, O_WRONLY | O_CREAT | O_EXCL);
    temporary_ = temporary;
    os::write_all(file_.get(), cache_.header_, temporary_.native());
  }
  os::write_all(file_.get(), records_, temporary_.native());
  records_.clear();
}

void StatCacheUpdate::publish() noexcept {
  const std::lock_guard lock(mutex_);
  if (cache_.path_.empty() || failed_ || (!file_ && records_.empty())) return;
  try {
    if (!append()) rewrite();
  } catch (const Error&) {  // an adapter's catch: the old file stays as it was, or is cut off at a record
  }
}

// One write: takers that append at the same time do not mix. False: it has to be written anew.
bool StatCacheUpdate::append() {
  if (file_ || !cache_.usable_ || cache_.damaged_) return false;
  std::size_t live = 0;
  for (const auto& [path, place] : cache_.places_) live += place.used ? place.size : 0;
  const std::size_t dead = cache_.bytes_.size() - cache_.header_.size() - live;
  if (dead > kDeadWorth && dead > live + records_.size()) return false;
  const os::Fd file = os::open_file(cache_.path_, O_WRONLY | O_APPEND);
  os::write_all(file.get(), records_, cache_.path_.native());
  return true;
}

void StatCacheUpdate::rewrite() {
  spill();
  for (const auto& [path, place] : cache_.places_) {
    if (!place.used) continue;
    records_.append(cache_.bytes_, place.at, place.size);
    if (records_.size() >= kSpill) spill();
  }
  spill();
  if (::rename(temporary_.c_str(), cache_.path_.c_str()) != 0)
    throw errno_error(errno, "rename to " + cache_.path_.native());
  temporary_.clear();
}

}  // namespace runner::snapshot
