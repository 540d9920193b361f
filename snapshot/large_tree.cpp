#include "snapshot/large_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "runner/core/time.hpp"
#include "snapshot/walk.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kNamed = 3;
constexpr double kWorthNaming = 0.1;  // of the whole
constexpr double kMostOfIt = 0.8;     // of a directory lies in one below it: that one is meant

class Counter : public WalkVisitor {
 public:
  explicit Counter(const StatCache& cache) : cache_(cache) {}

  std::shared_ptr<WalkNode> directory(const WalkedDirectory& at, std::shared_ptr<WalkNode>,
                                      std::vector<std::string> files, std::size_t) override {
    LargeTree::Directory counted{.path = at.path};
    auto record = cache_.peek(at.path);
    std::size_t left = record ? record->files : 0;
    StatCache::File known;
    bool present = left > 0 && record->next_file(known);
    for (const std::string& name : files) {
      struct ::stat info {};
      if (::fstatat(at.fd->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      while (present && known.name < name) present = --left > 0 && record->next_file(known);
      if (present && known.name == name && known.stamp == stamp_of(info)) continue;
      ++counted.files;
      counted.bytes += info.st_size;
    }
    if (counted.files > 0) {
      const std::lock_guard lock(mutex_);
      own_.push_back(std::move(counted));
    }
    return nullptr;
  }
  void left_out(const std::shared_ptr<WalkNode>&) override {}

  std::vector<LargeTree::Directory> take() { return std::move(own_); }

 private:
  const StatCache& cache_;
  std::mutex mutex_;
  std::vector<LargeTree::Directory> own_;
};

struct Node {
  std::int64_t files = 0;
  std::int64_t bytes = 0;
  std::map<std::string, Node, std::less<>> below;
};

// How much of the warning's cause it is: both limits count alike.
double weight(std::int64_t files, std::int64_t bytes, const LargeTree::Directory& limits) {
  const auto share = [](std::int64_t part, std::int64_t limit) {
    return limit > 0 ? static_cast<double>(part) / static_cast<double>(limit) : 0.0;
  };
  return share(files, limits.files) + share(bytes, limits.bytes);
}

std::string amount(std::int64_t files, std::int64_t bytes) {
  return std::to_string(files) + (files == 1 ? " file, " : " files, ") + format_size(bytes);
}

}  // namespace

std::vector<LargeTree::Directory> biggest_directories(std::vector<LargeTree::Directory> own,
                                                      const LargeTree::Directory& limits) {
  Node root;
  for (const LargeTree::Directory& directory : own) {
    Node* at = &root;
    std::string_view rest = directory.path;
    for (;;) {
      at->files += directory.files;
      at->bytes += directory.bytes;
      if (rest.empty()) break;
      const std::string_view name = rest.substr(0, rest.find('/'));
      rest.remove_prefix(name.size() + 1);
      at = &at->below.try_emplace(std::string(name)).first->second;
    }
  }
  const auto of = [&limits](const Node& node) { return weight(node.files, node.bytes, limits); };
  struct Candidate {
    std::string path;
    const Node* node;
  };
  const auto heaviest_of = [&of](const Node& node) {
    return std::max_element(node.below.begin(), node.below.end(),
                            [&of](const auto& a, const auto& b) { return of(a.second) < of(b.second); });
  };
  std::vector<Candidate> candidates;
  for (const auto& [name, node] : root.below) candidates.push_back({.path = name + "/", .node = &node});
  std::vector<LargeTree::Directory> biggest;
  while (!candidates.empty() && biggest.size() < kNamed) {
    const auto heaviest =
        std::max_element(candidates.begin(), candidates.end(),
                         [&of](const Candidate& a, const Candidate& b) { return of(*a.node) < of(*b.node); });
    Candidate chosen = std::move(*heaviest);
    candidates.erase(heaviest);
    if (of(*chosen.node) < kWorthNaming * of(root)) break;
    for (auto below = heaviest_of(*chosen.node);
         below != chosen.node->below.end() && of(below->second) >= kMostOfIt * of(*chosen.node);
         below = heaviest_of(*chosen.node))
      chosen = {.path = chosen.path + below->first + "/", .node = &below->second};
    biggest.push_back({.path = chosen.path, .files = chosen.node->files, .bytes = chosen.node->bytes});
  }
  return biggest;
}

LargeTree measure_new(const Options& options, const StatCache& cache) {
  Scope scope(options);
  Counter counter(cache);
  WorkPool pool;
  walk(scope, counter, pool);
  LargeTree result;
  result.ignore_name = scope.ignore_name();
  std::vector<LargeTree::Directory> own = counter.take();
  for (const LargeTree::Directory& directory : own) {
    result.files += directory.files;
    result.bytes += directory.bytes;
  }
  result.biggest =
      biggest_directories(std::move(own), {.path = "", .files = options.large_files, .bytes = options.large_bytes});
  return result;
}

std::string large_warning(const LargeTree& tree) {
  std::string text = "large snapshot: " + amount(tree.files, tree.bytes) + " will be copied";
  if (tree.biggest.empty()) return text;
  text += "; most of it is in ";
  for (std::size_t i = 0; i < tree.biggest.size(); ++i) {
    const LargeTree::Directory& directory = tree.biggest[i];
    text += (i == 0 ? "" : ", ") + directory.path + " (" + amount(directory.files, directory.bytes) + ")";
  }
  return text + "; the line /" + tree.biggest.front().path + " in " + tree.ignore_name + " leaves the first out";
}

}  // namespace runner::snapshot
