// One file on its way into the store, whole or not at all.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runner/core/content.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::snapshot {

// What tells that a file has not changed since it was read. Times in nanoseconds since 1970.
struct FileStamp {
  std::int64_t size = 0;
  std::int64_t modified = 0;
  std::int64_t changed = 0;
  std::uint64_t inode = 0;
  std::uint32_t mode = 0;

  bool operator==(const FileStamp&) const = default;
};
FileStamp stamp_of(const struct ::stat& info);
EntryType type_of(const FileStamp& stamp);  // of a regular file or a symbolic link

// Files are read by one reader a thread.
class FileReader {
 public:
  explicit FileReader(ContentBatch& batch) : batch_(batch) {}

  struct Read {
    bool permitted = true;  // false: it may not be read, nothing else is set
    EntryType type = EntryType::kFile;
    Hash content;
    FileStamp stamp;       // of exactly the bytes that were stored
    bool settled = false;  // the stamp was older than the reading: a later change cannot leave it as it is
  };
  // A regular file or a symbolic link, retried while it changes under the reader; `shown` is its path for people.
  // Error(kInvalid) naming it when it keeps changing, is gone, or has become something else.
  // `was_regular`: a moment ago it was a regular file, which spares a stat.
  Read read(int directory_fd, const std::string& name, const std::string& shown, bool was_regular = false);

 private:
  bool read_file(int directory_fd, const std::string& name, const std::string& shown, Read& result);
  bool read_symlink(int directory_fd, const std::string& name, const struct ::stat& before, Read& result);
  bool put_small(int fd, const std::string& shown, Read& result);
  bool put_large(int fd, const std::string& shown, Read& result);

  ContentBatch& batch_;
  std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace runner::snapshot
