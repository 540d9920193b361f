// What the last snapshot of a source directory saw, so that an unchanged file is not read again and an unchanged
// directory not even encoded. A cache and no more: a damaged, foreign or missing file is an empty cache, a damaged
// record an absent one.
//
//   file      = header record*
//   header    = "runner stat cache 2" LF length32 source check      source: the absolute path that the cache is for
//   record    = length32 check generation64 tree32 files32 directories32 length32 path file* directory*
//   file      = length16 size64 modified64 changed64 inode64 mode32 hash name     ascending bytewise by name
//   directory = length16 hash name                                                ascending bytewise by name
//   check     = the first 16 bytes of the SHA-256 of the header before it, or of the record behind it
//
// Integers are in the machine's byte order. A record's length counts all behind it; `path` is "" or "a/b/". The last of
// several records of one path counts: a few changed directories are appended. `generation` is the store's
// (ContentBatch::generation) when the contents named were in it. `tree` is the hash of the directory's tree object if
// the record lists all that is in it, else zeros. What a record says stays true for ever ("a file with this stamp has
// this content"), so takers that append at the same time do no harm.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runner/os/fd.hpp"
#include "snapshot/file_reader.hpp"

namespace runner::snapshot {

class StatCache {
 public:
  // Empty if there is no usable file. Does not throw for whatever stands in it.
  StatCache(std::filesystem::path path, const std::filesystem::path& source);

  struct File {
    std::string_view name;  // valid as long as the cache
    FileStamp stamp;
    Hash content;
  };
  struct Subdirectory {
    std::string_view name;
    Hash tree;
  };
  // One directory, whole and checked.
  class Record {
   public:
    std::uint64_t generation = 0;
    std::optional<Hash> tree;
    std::size_t files = 0;
    std::size_t directories = 0;
    // Front to back: `files` times `next_file`, then `directories` times `next_directory`. False: the record ends
    // early.
    bool next_file(File& file);
    bool next_directory(Subdirectory& directory);

   private:
    friend class StatCache;
    std::string_view rest_;
  };
  // Any thread, but each path by one at a time.
  std::optional<Record> find(std::string_view path) const;
  // The same without counting it as used: any number of threads.
  std::optional<Record> peek(std::string_view path) const;
  bool empty() const { return places_.empty(); }

 private:
  friend class StatCacheUpdate;
  struct Place {
    std::size_t at;  // of the record's length
    std::size_t size;
    mutable bool used = false;  // found, whole
  };
  void parse();

  const std::filesystem::path path_;
  const std::string header_;
  std::string bytes_;
  std::unordered_map<std::string_view, Place> places_;
  mutable std::atomic<bool> damaged_ = false;  // somewhere: the next update writes the file anew
  bool usable_ = false;                        // the header is ours: records may be appended
};

// One directory's new record. Files and then directories in ascending order of name.
class StatRecord {
 public:
  StatRecord(std::string_view path, std::uint64_t generation, const std::optional<Hash>& tree);
  void add_file(std::string_view name, const FileStamp& stamp, const Hash& content);
  void add_directory(std::string_view name, const Hash& tree);
  std::string finish();

 private:
  std::string bytes_;
  std::uint32_t files_ = 0;
  std::uint32_t directories_ = 0;
};

// Collects the records that have changed and brings them to the file after the commit. Any thread.
class StatCacheUpdate {
 public:
  explicit StatCacheUpdate(const StatCache& cache) : cache_(cache) {}
  ~StatCacheUpdate();
  StatCacheUpdate(const StatCacheUpdate&) = delete;
  StatCacheUpdate& operator=(const StatCacheUpdate&) = delete;

  void add(std::string_view path, std::string record);
  // Appends, or writes the file anew when too much of it would be out of date. Atomic, not durable. Throws nothing: on
  // a full disk there is no cache.
  void publish() noexcept;

 private:
  void spill();  // with the mutex held
  bool append();
  void rewrite();

  const StatCache& cache_;
  std::mutex mutex_;     // guards all below
  std::string records_;  // not yet in `file_`
  os::Fd file_;          // the new cache: a million files' records are not kept in memory
  std::filesystem::path temporary_;
  bool failed_ = false;
};

}  // namespace runner::snapshot
