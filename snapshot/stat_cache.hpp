// What the last snapshot of a source directory saw, so that an unchanged file is not read again. A cache and no more: a
// damaged, foreign or missing file is an empty cache.
//
//   file      = "runner stat cache 1" LF source directory* digest
//   source    = length32 bytes                        absolute path that the cache is for
//   directory = length32 bytes count32 entry*count    path from the source: "" or "a/b/"; distinct
//   entry     = length16 name size64 modified64 changed64 inode64 mode32 hash      ascending bytewise by name
//   digest    = SHA-256 of all before it              integers in the machine's byte order
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "snapshot/file_reader.hpp"

namespace runner::snapshot {

class StatCache {
 public:
  // Empty if there is no usable file. Does not throw for whatever stands in it.
  StatCache(const std::filesystem::path& path, const std::filesystem::path& source);

  struct Directory {  // a stretch of `entries_`
    std::size_t first = 0;
    std::size_t last = 0;
  };
  Directory directory(std::string_view path) const;
  // The content of this file if it still has this stamp; nullptr otherwise.
  const Hash* find(const Directory& directory, std::string_view name, const FileStamp& stamp) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string_view name;  // into `bytes_`
    FileStamp stamp;
    Hash content;
  };
  bool parse(std::string_view source);

  std::string bytes_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, Directory> directories_;
};

// Collects the new cache, directory by directory, and publishes it atomically.
class StatCacheWriter {
 public:
  explicit StatCacheWriter(const std::filesystem::path& source);
  void begin_directory(std::string_view path);
  void add(std::string_view name, const FileStamp& stamp, const Hash& content);  // ascending by name in a directory
  void publish(const std::filesystem::path& path);

 private:
  void finish_directory();

  std::string bytes_;
  std::size_t count_at_ = 0;  // where the open directory's count goes; 0: none is open
  std::uint32_t count_ = 0;
};

}  // namespace runner::snapshot
