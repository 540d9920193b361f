// Reading again what the store has lost. Only the contents that are wanted are stored, and only under the very hash
// that is wanted: whatever stands on the disk by now, nothing gets worse.
#pragma once

#include <filesystem>
#include <string>
#include <unordered_set>

#include "runner/core/content.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {

class ContentRepair : public ContentWriter {
 public:
  using Wanted = std::unordered_set<Hash, HashHasher>;
  // `store` must not find the wanted contents any more (ContentStore::distrust).
  ContentRepair(ContentWriter& store, Wanted wanted) : store_(store), wanted_(std::move(wanted)) {}

  // True if the file or symbolic link is this content; then it is in the store again.
  bool offer(const std::filesystem::path& file, const Hash& content, std::int64_t bytes, snapshot::EntryType type);
  // The directory's tree object and those below it, as the real files of a checkout stand for them.
  void offer_directory(const std::filesystem::path& directory);

  // For snapshot::take of a source directory: every wanted content that it comes across.
  std::unique_ptr<ContentBatch> begin() override;

 private:
  class Batch;
  ContentWriter& store_;
  const Wanted wanted_;
};

}  // namespace runner::pipeline
