// From a walk to the id: what the stat cache knows is not read, what it does not know is read into the store on the
// pool's threads, and a directory's tree object is made as soon as all below it is. Memory holds the directories at
// work only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/read_gate.hpp"
#include "snapshot/stat_cache.hpp"
#include "snapshot/tree_object.hpp"
#include "snapshot/walk.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {

// One file of a directory at work. While it is queued only its reader touches the fields below `name`.
struct TreeFile {
  std::string name;
  FileStamp stamp;
  EntryType type = EntryType::kFile;
  Hash content;
  bool settled = false;
};

class TreeBuilder : public WalkVisitor {
 public:
  TreeBuilder(const StatCache& cache, StatCacheUpdate& update, ContentBatch& batch, ReadGate& gate);

  std::shared_ptr<WalkNode> directory(const WalkedDirectory& at, std::shared_ptr<WalkNode> parent,
                                      std::vector<std::string> files, std::size_t subdirectories) override;
  void left_out(const std::shared_ptr<WalkNode>& parent) override;

  // After the walk, when nothing was unreadable.
  Hash id() const { return id_.value(); }
  std::int64_t files() const { return files_; }
  std::int64_t bytes() const { return bytes_; }
  std::vector<std::string> take_unreadable() { return std::move(unreadable_); }

 private:
  struct Child {
    std::string name;
    Hash tree;
  };
  struct Node : WalkNode {
    std::shared_ptr<Node> parent;
    std::string path;
    std::optional<StatCache::Record> record;
    bool as_recorded = false;     // its files are the record's, `files` is empty
    std::vector<TreeFile> files;  // ascending by name; does not move while readers are at work
    std::int64_t bytes = 0;       // as_recorded: of its files
    std::vector<Child> children;  // under the builder's mutex until all are there
    std::atomic<std::size_t> pending;
  };
  // Some files of one directory.
  struct Job {
    std::shared_ptr<Node> node;
    std::shared_ptr<const os::Fd> directory;
    std::vector<TreeFile*> files;
    std::int64_t bytes = 0;
  };

  bool is_trusted(const Node& node) const;
  std::size_t match(Node& node, const WalkedDirectory& at, const std::vector<std::string>& names) const;
  void sort_out(const std::shared_ptr<Node>& node, const WalkedDirectory& at, std::vector<std::string> names,
                std::size_t matched);
  void queue(Job job, const WalkedDirectory& at);
  void read(const Job& job, int worker);
  void finish_one(std::shared_ptr<Node> node);
  Hash finish(Node& node);
  bool is_as_recorded(const Node& node) const;
  Hash encode(const Node& node);
  void record(const Node& node, const Hash& tree);

  const StatCache& cache_;
  StatCacheUpdate& update_;
  ContentBatch& batch_;
  ReadGate& gate_;
  const std::uint64_t generation_;  // 0: each hash is to be asked for
  std::array<FileReader, WorkPool::kWorkers> readers_;
  std::atomic<std::int64_t> files_ = 0;
  std::atomic<std::int64_t> bytes_ = 0;
  std::mutex mutex_;  // guards the nodes' `children` and what follows
  std::vector<std::string> unreadable_;
  std::optional<Hash> id_;
};

}  // namespace runner::snapshot
