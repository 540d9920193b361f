// Taking a snapshot: one walk that decides what is in and stats it, readers for what the stat cache does not know, tree
// objects from the leaves up, one commit, and then what the next one need not read.
#include <utility>

#include "snapshot/read_gate.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/stat_cache.hpp"
#include "snapshot/tree_builder.hpp"
#include "snapshot/walk.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {
namespace {

// Reading so little again costs less than a cache file.
constexpr std::int64_t kCacheWorthFiles = 16;
constexpr std::int64_t kCacheWorthBytes = 256 << 10;

}  // namespace

Snapshot take(const Options& options, ContentWriter& store) {
  Scope scope(options);
  const StatCache cache(options.stat_cache, options.source);
  StatCacheUpdate update(cache);
  const auto batch = store.begin();
  WorkPool pool;
  ReadGate gate(options, cache, pool);
  TreeBuilder builder(cache, update, *batch, gate);
  walk(scope, builder, pool);
  gate.open(0, true);
  pool.run();
  std::vector<std::string> unreadable = builder.take_unreadable();
  std::vector<std::string> directories = scope.take_unreadable();
  unreadable.insert(unreadable.end(), directories.begin(), directories.end());
  throw_if_unreadable(std::move(unreadable));
  batch->commit();
  // Only after the commit: what it names is in the store.
  if (builder.files() > kCacheWorthFiles || builder.bytes() > kCacheWorthBytes) update.publish();
  return {.id = builder.id(), .files = builder.files(), .bytes = builder.bytes(), .warnings = scope.take_warnings()};
}

}  // namespace runner::snapshot
