// The content store: chunks of snapshot files and artifacts in one SQLite file (content.db), named by SHA-256.
// Concurrent writers share commits; readers have connections of their own. Any thread may call, also from within a
// `read`'s callback: nothing is held over it. Batches must be gone before the store is.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"

namespace runner::store {

class ContentCheck;
class ContentCollection;

class ContentStore final : public ContentWriter, public ContentReader {
 public:
  // Opens or creates the file. Error(kConflict) with a hint for a newer schema, Error(kInternal) for a damaged one.
  explicit ContentStore(const std::filesystem::path& database);
  ~ContentStore() override;

  std::unique_ptr<ContentBatch> begin() override;
  // For what a run that has ended leaves behind: if it is little (half a megabyte) a full disk takes it all the same.
  std::unique_ptr<ContentBatch> begin_last();
  // Why the file is only read, if it is: it has been found damaged.
  std::optional<Error> damage() const;
  bool contains(const Hash& hash) const override;
  std::int64_t size(const Hash& hash) const override;
  // The contents whose names begin with these hexadecimal digits (2 to 64), ascending, at most `limit`.
  std::vector<Hash> find(std::string_view digits, std::size_t limit) const;
  void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const override;

  // While it lives, nothing is freed that was put or found after it began: from before a snapshot is taken (or outputs
  // are stored) until the row is written that names them.
  using Hold = std::shared_ptr<const void>;
  Hold hold();

  // content_gc.hpp says what it does and throws.
  std::unique_ptr<ContentCollection> collect(bool dry_run, std::chrono::milliseconds patience,
                                             std::function<void()> tick);
  std::unique_ptr<ContentCheck> check(std::function<void()> tick) const;  // content_check.hpp
  // Bytes that the database takes on the disk, its WAL included.
  std::int64_t disk_bytes() const;
  // A content that cannot be read as it was stored: no batch finds it any more, and the next `put` of it replaces it.
  // `read` does this by itself. Forgotten when the store is closed.
  void distrust(const Hash& hash);
  // Something that a row names is missing: caches of hashes are to ask for each again, so that what is submitted again
  // is read again.
  void distrust_caches();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::store
