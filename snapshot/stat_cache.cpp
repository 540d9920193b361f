#include "snapshot/stat_cache.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

constexpr std::string_view kHeader = "runner stat cache 1\n";
constexpr std::size_t kLimit = std::size_t{1} << 30;  // about eight million files

// The front of a byte string; every `take` says whether there was enough.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }

  template <typename T>
  bool take(T& value) {
    if (rest_.size() < sizeof value) return false;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return true;
  }
  template <typename Length>
  bool take_bytes(std::string_view& bytes) {
    Length length = 0;
    if (!take(length) || rest_.size() < length) return false;
    bytes = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return true;
  }

 private:
  std::string_view rest_;
};

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

bool take_stamp(Cursor& cursor, FileStamp& stamp) {
  return cursor.take(stamp.size) && cursor.take(stamp.modified) && cursor.take(stamp.changed) &&
         cursor.take(stamp.inode) && cursor.take(stamp.mode);
}

}  // namespace

StatCache::StatCache(const std::filesystem::path& path, const std::filesystem::path& source) {
  if (path.empty()) return;
  try {
    auto read = os::read_file_if_exists(path, kLimit);
    if (!read) return;
    bytes_ = std::move(*read);
  } catch (const Error&) {  // an adapter's catch: whatever the reason, there is no cache
    return;
  }
  if (!parse(source.native())) {
    entries_.clear();
    directories_.clear();
  }
}

bool StatCache::parse(std::string_view source) {
  std::string_view body = bytes_;
  Hash digest;
  if (!body.starts_with(kHeader) || body.size() < kHeader.size() + sizeof digest.bytes) return false;
  std::memcpy(digest.bytes.data(), body.data() + body.size() - sizeof digest.bytes, sizeof digest.bytes);
  body.remove_suffix(sizeof digest.bytes);
  if (sha256(body) != digest) return false;
  Cursor cursor(body.substr(kHeader.size()));
  std::string_view made_for;
  if (!cursor.take_bytes<std::uint32_t>(made_for) || made_for != source) return false;
  while (!cursor.done()) {
    std::string_view path;
    std::uint32_t count = 0;
    if (!cursor.take_bytes<std::uint32_t>(path) || !cursor.take(count)) return false;
    const std::size_t first = entries_.size();
    for (std::uint32_t at = 0; at < count; ++at) {
      Entry& entry = entries_.emplace_back();
      if (!cursor.take_bytes<std::uint16_t>(entry.name) || !take_stamp(cursor, entry.stamp) ||
          !cursor.take(entry.content.bytes))
        return false;
    }
    directories_.emplace(path, Directory{.first = first, .last = entries_.size()});
  }
  return true;
}

StatCache::Directory StatCache::directory(std::string_view path) const {
  const auto found = directories_.find(path);
  return found == directories_.end() ? Directory{} : found->second;
}

const Hash* StatCache::find(const Directory& directory, std::string_view name, const FileStamp& stamp) const {
  const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(directory.first);
  const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(directory.last);
  const auto found = std::lower_bound(first, last, name,
                                      [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != last && found->name == name && found->stamp == stamp ? &found->content : nullptr;
}

StatCacheWriter::StatCacheWriter(const std::filesystem::path& source) : bytes_(kHeader) {
  append(bytes_, static_cast<std::uint32_t>(source.native().size()));
  bytes_ += source.native();
}

void StatCacheWriter::begin_directory(std::string_view path) {
  finish_directory();
  append(bytes_, static_cast<std::uint32_t>(path.size()));
  bytes_ += path;
  count_at_ = bytes_.size();
  append(bytes_, std::uint32_t{0});
}

void StatCacheWriter::finish_directory() {
  if (count_at_ != 0) std::memcpy(bytes_.data() + count_at_, &count_, sizeof count_);
  count_ = 0;
}

void StatCacheWriter::add(std::string_view name, const FileStamp& stamp, const Hash& content) {
  append(bytes_, static_cast<std::uint16_t>(name.size()));
  bytes_ += name;
  append(bytes_, stamp.size);
  append(bytes_, stamp.modified);
  append(bytes_, stamp.changed);
  append(bytes_, stamp.inode);
  append(bytes_, stamp.mode);
  bytes_.append(reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size());
  ++count_;
}

void StatCacheWriter::publish(const std::filesystem::path& path) {
  finish_directory();
  const Hash digest = sha256(bytes_);
  bytes_.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  os::publish_file(path, bytes_, os::Durability::kAtomic);
}

}  // namespace runner::snapshot
