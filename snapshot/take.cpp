// Taking a snapshot: one walk that decides what is in and stats it, readers for what the stat cache does not know, then
// the tree objects from the leaves up.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/read_queue.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/stat_cache.hpp"
#include "snapshot/tree_object.hpp"
#include "snapshot/walk.hpp"

namespace runner::snapshot {
namespace {

// A job is some 5 ms of work: short enough that both readers end together.
constexpr std::size_t kJobFiles = 64;
constexpr std::int64_t kJobBytes = 8 << 20;

// Reading so little again costs less than a cache file.
constexpr std::int64_t kCacheWorthFiles = 16;
constexpr std::int64_t kCacheWorthBytes = 256 << 10;

struct TreeNode {
  std::string name;
  std::string path;  // "" or "a/b/"
  std::vector<TreeFile> files;
  std::vector<std::unique_ptr<TreeNode>> directories;
};

class TreeBuilder : public WalkVisitor {
 public:
  TreeBuilder(const StatCache& cache, ContentBatch& batch) : cache_(cache), batch_(batch), queue_(batch) {}

  void enter(const WalkedDirectory& directory) override {
    auto node = std::make_unique<TreeNode>();
    node->path = directory.path;
    TreeNode* entered = node.get();
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      const std::string_view path = directory.path;
      node->name = path.substr(open_.back()->path.size(), path.size() - open_.back()->path.size() - 1);
      open_.back()->directories.push_back(std::move(node));
    }
    open_.push_back(entered);
  }

  void file(const WalkedDirectory&, const std::string& name, bool) override {
    open_.back()->files.push_back(TreeFile{.name = name, .stamp = {}, .content = {}});
  }

  // All files of the directory are known and none will move any more: ask the cache, queue the rest.
  void files_done(const WalkedDirectory& directory) override {
    std::vector<TreeFile>& files = open_.back()->files;
    std::sort(files.begin(), files.end(), [](const TreeFile& a, const TreeFile& b) { return a.name < b.name; });
    const StatCache::Directory cached = cache_.directory(directory.path);
    ReadJob job{.directory = directory.fd, .path = directory.path, .files = {}};
    for (TreeFile& file : files) {
      if (known(cached, directory, file)) continue;
      job.files.push_back(&file);
      job.bytes += file.stamp.size;
      if (job.files.size() < kJobFiles && job.bytes < kJobBytes) continue;
      queue_.add(std::exchange(job, {.directory = directory.fd, .path = directory.path, .files = {}}));
    }
    if (!job.files.empty()) queue_.add(std::move(job));
  }

  void leave() override { open_.pop_back(); }

  std::vector<std::string> finish_reading() { return queue_.finish(); }
  std::size_t hits() const { return hits_; }
  TreeNode& root() { return *root_; }

 private:
  bool known(const StatCache::Directory& cached, const WalkedDirectory& directory, TreeFile& file) {
    struct ::stat info {};
    if (::fstatat(directory.fd->get(), file.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return false;  // for the reader to judge
    file.stamp = stamp_of(info);
    if (!S_ISREG(info.st_mode)) return false;
    const Hash* content = cache_.find(cached, file.name, file.stamp);
    if (content == nullptr || !batch_.known(*content)) return false;
    file.type = type_of(file.stamp);
    file.content = *content;
    file.settled = true;
    ++hits_;
    return true;
  }

  const StatCache& cache_;
  ContentBatch& batch_;
  ReadQueue queue_;
  std::unique_ptr<TreeNode> root_;
  std::vector<TreeNode*> open_;  // from the root to the current directory
  std::size_t hits_ = 0;
};

// Stores the tree objects from the leaves up and counts.
class TreeStorer {
 public:
  TreeStorer(ContentBatch& batch, Snapshot& snapshot) : batch_(batch), snapshot_(snapshot) {}

  Hash store(TreeNode& node) {
    std::sort(node.directories.begin(), node.directories.end(),
              [](const auto& a, const auto& b) { return a->name < b->name; });
    TreeEncoder encoder;
    auto directory = node.directories.begin();
    const auto add_directories_before = [&](const std::string* name) {
      for (; directory != node.directories.end() && (name == nullptr || (*directory)->name < *name); ++directory)
        encoder.add((*directory)->name, EntryType::kDirectory, store(**directory), 0);
    };
    for (const TreeFile& file : node.files) {
      add_directories_before(&file.name);
      encoder.add(file.name, file.type, file.content, file.stamp.size);
      ++snapshot_.files;
      snapshot_.bytes += file.stamp.size;
    }
    add_directories_before(nullptr);
    const Hash hash = sha256(encoder.bytes());
    if (!batch_.known(hash)) batch_.put(std::as_bytes(std::span(encoder.bytes().data(), encoder.bytes().size())));
    return hash;
  }

 private:
  ContentBatch& batch_;
  Snapshot& snapshot_;
};

bool is_cached(const TreeFile& file) { return file.settled && file.type != EntryType::kSymlink; }

std::size_t count_cached(const TreeNode& node) {
  auto count = static_cast<std::size_t>(std::count_if(node.files.begin(), node.files.end(), is_cached));
  for (const auto& directory : node.directories) count += count_cached(*directory);
  return count;
}

void write_directory(StatCacheWriter& writer, const TreeNode& node) {
  if (std::any_of(node.files.begin(), node.files.end(), is_cached)) {
    writer.begin_directory(node.path);
    for (const TreeFile& file : node.files)
      if (is_cached(file)) writer.add(file.name, file.stamp, file.content);
  }
  for (const auto& directory : node.directories) write_directory(writer, *directory);
}

// Only when it would differ, and only after the commit: what it names is in the store.
void update_cache(const Options& options, const StatCache& cache, TreeBuilder& builder, const Snapshot& snapshot) {
  if (options.stat_cache.empty() || (snapshot.files <= kCacheWorthFiles && snapshot.bytes <= kCacheWorthBytes)) return;
  if (builder.hits() == cache.size() && count_cached(builder.root()) == cache.size()) return;
  StatCacheWriter writer(options.source);
  write_directory(writer, builder.root());
  writer.publish(options.stat_cache);
}

}  // namespace

Snapshot take(const Options& options, ContentWriter& store) {
  Scope scope(options);
  const StatCache cache(options.stat_cache, options.source);
  const auto batch = store.begin();
  TreeBuilder builder(cache, *batch);
  walk(scope, builder);
  std::vector<std::string> unreadable = builder.finish_reading();
  unreadable.insert(unreadable.end(), scope.unreadable.begin(), scope.unreadable.end());
  throw_if_unreadable(std::move(unreadable));
  Snapshot snapshot{.id = {}, .warnings = std::move(scope.warnings)};
  snapshot.id = TreeStorer(*batch, snapshot).store(builder.root());
  batch->commit();
  update_cache(options, cache, builder, snapshot);
  return snapshot;
}

}  // namespace runner::snapshot
