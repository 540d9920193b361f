// The content store: chunks of snapshot files and artifacts in one SQLite file (content.db), named by SHA-256.
// Concurrent writers share commits; readers have connections of their own. Any thread may call, also from within a
// `read`'s callback: nothing is held over it. Batches must be gone before the store is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::store {

class ContentStore final : public ContentWriter, public ContentReader {
 public:
  // Opens or creates the file. Error(kConflict) with a hint for a newer schema, Error(kInternal) for a damaged one.
  explicit ContentStore(const std::filesystem::path& database);
  ~ContentStore() override;

  std::unique_ptr<ContentBatch> begin() override;
  bool contains(const Hash& hash) const override;
  std::int64_t size(const Hash& hash) const override;
  // The contents whose names begin with these hexadecimal digits (2 to 64), ascending, at most `limit`.
  std::vector<Hash> find(std::string_view digits, std::size_t limit) const;
  void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::store
