#include "runner/pipeline/gc.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/environment_eviction.hpp"
#include "runner/pipeline/snapshot_totals.hpp"
#include "runner/pipeline/unused_caches.hpp"
#include "store/content_gc.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kMostItems = 1000;                        // of a kind, in an explanation
constexpr std::string_view kTreeBeginning = "runner tree 1\n";  // snapshot/tree_object.hpp

std::string number_of(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

class GarbageCollection {
 public:
  GarbageCollection(const GcSubjects& subjects, const GcOptions& options, const Doing& doing)
      : content_(subjects.content),
        history_(subjects.history),
        checkouts_(subjects.checkouts),
        environments_(subjects.environments),
        prepared_(subjects.prepared),
        data_(subjects.data),
        options_(options),
        doing_(doing) {}

  api::GcReport run() {
    report_.dry_run = options_.dry_run;
    report_.explained = options_.explain;
    if (const auto error = history_.damage()) throw Error(*error);  // what cannot be read may be what names something
    const std::int64_t before = content_.disk_bytes();
    // First: on a full disk their room is what the rest needs.
    if (!options_.keep_caches) {
      free_environments();
      free_forgotten_environments();
      free_checkouts();
      free_caches();
    }
    now_doing("waiting for snapshots that are under way");
    const auto collection = content_.collect(options_.dry_run, options_.patience, tick_);
    mark(*collection);
    if (options_.keep_caches) free_unnamed_checkouts();
    survey(*collection);
    if (!options_.dry_run) {
      now_doing("removing what nothing names");
      report_.spared = collection->sweep(contents_are_known_).spared;
      now_doing("shrinking content.db");
      collection->shrink();
      report_.disk_bytes += std::max<std::int64_t>(0, before - content_.disk_bytes());
    }
    return std::move(report_);
  }

 private:
  void now_doing(std::string what) {
    what_ = std::move(what);
    tick_();
  }

  void free_caches() {
    now_doing("looking at caches");
    for (const UnusedCache& cache : find_unused_caches(data_)) {
      ++report_.caches;
      report_.cache_bytes += cache.bytes;
      explain(
          report_.freed,
          {.kind = cache.kind, .name = cache.path.string(), .count = 1, .bytes = cache.bytes, .reason = cache.reason});
      if (options_.dry_run) continue;
      os::remove_tree(cache.path);
      report_.disk_bytes += cache.bytes;
    }
  }

  // By age, then the longest unused first until the rest fits the budget; never one that an unfinished run needs.
  void free_environments() {
    now_doing("looking at environments");
    const auto unfinished = history_.unfinished();
    const auto chosen = environments_to_free(environments_.builds(), unfinished, utc_now(),
                                             {.bytes = options_.environment_bytes, .age = options_.environment_age});
    std::set<std::string> silent;  // Engines that have not answered
    for (const auto& [build, why] : chosen) {
      tick_();
      if (build.directory.empty() && silent.contains(build.engine)) continue;
      try {
        if (!options_.dry_run) {
          const auto freed = prepared_.remove(build);
          if (!freed) continue;  // a run has just begun to use it
          report_.disk_bytes += *freed;
        }
      } catch (const Error& error) {
        report_.warnings.push_back("environment " + build.directory + build.image + " stays: " + error.message());
        if (build.directory.empty() && error.code() != ErrorCode::kConflict) silent.insert(build.engine);
        continue;
      }
      ++report_.caches;
      report_.cache_bytes += build.bytes;
      explain(report_.freed, {.kind = "environment",
                              .name = build.directory.empty() ? build.image : build.directory,
                              .count = 1,
                              .bytes = build.bytes,
                              .reason = why + "; " + how_it_comes_back(build)});
    }
  }

  // Of environments that were changed behind our back, and of builds whose end was not told.
  void free_forgotten_environments() {
    for (const auto& directory : prepared_.orphans(history_.unfinished())) {
      tick_();
      const std::int64_t bytes = os::disk_bytes_below(directory);
      ++report_.caches;
      report_.cache_bytes += bytes;
      explain(report_.freed, {.kind = "environment",
                              .name = directory.filename().string(),
                              .count = 1,
                              .bytes = bytes,
                              .reason = "it was changed or left half done; nothing uses it"});
      if (options_.dry_run) continue;
      os::remove_tree(directory);
      report_.disk_bytes += bytes;
    }
  }

  std::string how_it_comes_back(const store::EnvironmentBuild& build) const {
    if (build.directory.empty()) return "its Dockerfile can be built again";
    const auto lock = environments_.lock(build.lock);
    return lock ? "it can be rebuilt from its lock" : "it can be built again";
  }

  // Those that no live run uses. One that is a layer of another goes after it.
  void free_checkouts() {
    now_doing("looking at checkouts");
    for (bool more = true; std::exchange(more, false);)
      for (const auto& checkout : checkouts_.list()) {
        tick_();
        if (checkout.in_use || (!options_.dry_run && !checkouts_.evict(checkout.snapshot))) continue;
        ++report_.caches;
        report_.cache_bytes += checkout.bytes;
        if (!options_.dry_run) report_.disk_bytes += checkout.bytes;
        more = !options_.dry_run;
        explain(report_.freed, {.kind = "checkout",
                                .name = checkout.snapshot.hex(),
                                .count = 1,
                                .bytes = checkout.bytes,
                                .reason = "no live run uses it; it comes back when one needs it"});
      }
    std::sort(report_.freed.begin(), report_.freed.end(), [](const api::GcItem& a, const api::GcItem& b) {
      return std::tie(a.kind, a.name) < std::tie(b.kind, b.name);
    });
  }

  // Of snapshots that no run names, after `mark`; where caches are kept.
  void free_unnamed_checkouts() {
    now_doing("looking at checkouts");
    for (bool more = true; std::exchange(more, false);)  // one that is a layer of another goes after it
      for (const auto& checkout : checkouts_.list()) {
        tick_();
        if (named_snapshots_.contains(checkout.snapshot) || checkout.in_use) continue;
        if (!options_.dry_run && !checkouts_.evict(checkout.snapshot)) continue;
        more = !options_.dry_run;
        ++report_.caches;
        report_.cache_bytes += checkout.bytes;
        if (!options_.dry_run) report_.disk_bytes += checkout.bytes;
        explain(report_.freed, {.kind = "checkout",
                                .name = checkout.snapshot.hex(),
                                .count = 1,
                                .bytes = checkout.bytes,
                                .reason = "no run names its snapshot"});
      }
  }

  // Everything that a run's snapshot or artifacts name.
  void mark(store::ContentCollection& collection) {
    now_doing("looking at what runs need");
    SnapshotTotals totals(
        content_, [&](const Hash& hash) { collection.keep(hash); }, tick_);
    struct Kept {
      SnapshotTotals::Total total;
      std::int64_t runs = 0;
      std::string newest;
    };
    std::map<Hash, Kept> snapshots;
    std::int64_t file_bytes = 0;
    history_.for_each_run_contents([&](const store::History::RunContents& run) {
      tick_();
      ++report_.runs;
      for (const Artifact& artifact : run.artifacts) {
        collection.keep(artifact.sha256);
        ++report_.kept_files;
        file_bytes += artifact.bytes;
      }
      if (!run.snapshot) return;
      collection.keep(*run.snapshot);
      named_snapshots_.insert(*run.snapshot);
      Kept& kept = snapshots[*run.snapshot];
      if (kept.runs++ == 0) kept.total = totals.of(*run.snapshot);
      kept.newest = run.id;
    });
    report_.kept_snapshots = static_cast<std::int64_t>(snapshots.size());
    for (const auto& [id, kept] : snapshots)
      explain(report_.kept,
              {.kind = "snapshot",
               .name = id.hex(),
               .count = kept.total.files,
               .bytes = kept.total.bytes,
               .reason = kept.runs == 1 ? "run " + kept.newest
                                        : std::to_string(kept.runs) + " runs, the newest is " + kept.newest});
    if (report_.kept_files > 0)
      explain(report_.kept, {.kind = "files",
                             .name = {},
                             .count = report_.kept_files,
                             .bytes = file_bytes,
                             .reason = "left behind by " + number_of(report_.runs, "run", "runs")});
    for (const std::string& unreadable : totals.unreadable()) report_.warnings.push_back(unreadable);
    contents_are_known_ = totals.unreadable().empty();
    if (!contents_are_known_)
      report_.warnings.push_back(
          "no content is freed, for what is in a damaged snapshot is not known: see `runner fsck --repair`");
  }

  // What nothing names, in numbers, and in words if they are wanted.
  void survey(store::ContentCollection& collection) {
    now_doing("looking for what nothing names");
    const auto strays = collection.stray_chunks();
    report_.chunks = strays.count;
    report_.chunk_bytes = strays.stored_bytes;
    if (strays.count > 0)
      explain(report_.freed, {.kind = "chunks",
                              .name = {},
                              .count = strays.count,
                              .bytes = strays.stored_bytes,
                              .reason = "of a snapshot or an upload that was interrupted"});
    if (!contents_are_known_) return;
    std::vector<Hash> trees;
    collection.for_each_garbage([&](const store::ContentCollection::Garbage& garbage) {
      tick_();
      report_.content_bytes += garbage.stored_bytes;
      if (garbage.is_piece) return;
      ++report_.contents;
      if (options_.explain && is_tree(garbage.hash)) trees.push_back(garbage.hash);
    });
    if (options_.explain) explain_contents(collection, trees);
  }

  bool is_tree(const Hash& hash) const {
    std::string beginning;
    try {
      content_.read(hash, 0, static_cast<std::int64_t>(kTreeBeginning.size()), [&](std::span<const std::byte> piece) {
        beginning.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      });
    } catch (const Error& error) {  // a damaged one goes like any other
      if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
    }
    return beginning == kTreeBeginning;
  }

  // A tree that no other names is the root of a snapshot: `runner snapshot create` made it, or a run that is gone.
  void explain_contents(store::ContentCollection& collection, const std::vector<Hash>& trees) {
    std::unordered_set<Hash, HashHasher> named;
    SnapshotTotals totals(
        content_, [&](const Hash& hash) { named.insert(hash); }, tick_);
    for (const Hash& tree : trees) totals.of(tree);
    std::unordered_set<Hash, HashHasher> roots;
    for (const Hash& tree : trees)
      if (!named.contains(tree)) roots.insert(tree);
    std::int64_t others = 0;
    std::int64_t other_bytes = 0;
    collection.for_each_garbage([&](const store::ContentCollection::Garbage& garbage) {
      if (garbage.is_piece || named.contains(garbage.hash) || roots.contains(garbage.hash)) return;
      ++others;
      other_bytes += garbage.bytes;
    });
    for (const Hash& tree : trees) {
      if (!roots.contains(tree)) continue;
      const auto total = totals.of(tree);
      explain(report_.freed, {.kind = "snapshot",
                              .name = tree.hex(),
                              .count = total.files,
                              .bytes = total.bytes,
                              .reason = "no run references it"});
    }
    if (others > 0)
      explain(report_.freed, {.kind = "contents",
                              .name = {},
                              .count = others,
                              .bytes = other_bytes,
                              .reason = "neither a run nor a snapshot names them"});
  }

  void explain(std::vector<api::GcItem>& items, api::GcItem item) {
    if (!options_.explain) return;
    if (items.size() < kMostItems) return items.push_back(std::move(item));
    if (items.back().kind != "more") items.push_back({.kind = "more", .name = {}, .reason = "not listed one by one"});
    ++items.back().count;
    items.back().bytes += item.bytes;
  }

  store::ContentStore& content_;
  const store::History& history_;
  snapshot::Checkouts& checkouts_;
  const store::Environments& environments_;
  PreparedEnvironments& prepared_;
  const os::DataDirectory& data_;
  const GcOptions options_;
  const Doing& doing_;
  std::string what_;
  const std::function<void()> tick_ = [this] { doing_(what_); };
  api::GcReport report_;
  std::unordered_set<Hash, HashHasher> named_snapshots_;
  bool contents_are_known_ = true;
};

}  // namespace

api::GcReport collect_garbage(const GcSubjects& subjects, const GcOptions& options, const Doing& doing) {
  return GarbageCollection(subjects, options, doing).run();
}

}  // namespace runner::pipeline
