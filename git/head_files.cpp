#include "git/head_files.hpp"

#include <algorithm>

namespace runner::git {
namespace {

// A tree may name itself's like over and over: ten objects that describe ten thousand million files.
constexpr std::size_t kMaxFiles = 2'000'000;      // that differ, a path of some hundred bytes each
constexpr std::size_t kMaxDirectories = 200'000;  // that differ
constexpr std::size_t kMaxPath = 16384;

class Comparison {
 public:
  Comparison(const Objects& objects, const os::GitIndex* index, std::vector<HeadFile>& files,
             std::vector<os::GitIndex::Range>& same)
      : objects_(objects), index_(index), files_(files), same_(same) {}

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  // `cached`: the directory in the index's cached trees.
  void directory(const os::GitId& tree, const std::string& path, std::size_t cached) {
    if (index_ != nullptr) {
      const auto range = index_->below(path);
      if (is_same(tree, path, cached, range)) return same_.push_back(range);
    }
    if (++directories_ > kMaxDirectories)
      throw Unreadable{"HEAD has more than 200 000 directories that the index has not"};
    if (path.size() > kMaxPath) throw Unreadable{"HEAD's tree is too deep"};
    const Tree handle = objects_.tree(tree);
    for (std::size_t i = 0; i < git_tree_entrycount(handle.get()); ++i) {
      const git_tree_entry* entry = git_tree_entry_byindex(handle.get(), i);
      const os::GitId id = id_of(*git_tree_entry_id(entry));
      const std::string name = git_tree_entry_name(entry);
      if (git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE) {
        directory(id, path + name + "/", child_of(cached, name));
        continue;
      }
      if (files_.size() >= kMaxFiles) throw Unreadable{"HEAD has more than two million files that the index has not"};
      files_.push_back({.path = path + name, .mode = git_tree_entry_filemode(entry), .id = id});
    }
  }

  std::size_t child_of(std::size_t cached, std::string_view name) const {
    if (cached == kNone) return kNone;
    const auto& trees = index_->cached_trees();
    for (std::size_t at = cached + 1, left = trees[cached].children; left > 0; --left, at = trees[at].next)
      if (trees[at].name == name) return at;
    return kNone;
  }

 private:
  bool is_same(const os::GitId& tree, const std::string& path, std::size_t cached, os::GitIndex::Range range) const {
    if (cached != kNone && index_->cached_trees()[cached].id == tree) return true;
    if (range.last - range.first != 1) return false;
    const os::GitIndexEntry& only = index_->entries()[range.first];
    return only.type() == os::kGitTree && only.path == path && only.id == tree;
  }

  std::size_t directories_ = 0;
  const Objects& objects_;
  const os::GitIndex* index_;
  std::vector<HeadFile>& files_;
  std::vector<os::GitIndex::Range>& same_;
};

}  // namespace

HeadFiles compare_with_head(const Objects& objects, const std::optional<os::GitId>& tree, const os::GitIndex& index,
                            const std::string& scope) {
  HeadFiles found;
  if (!tree) return found;
  Comparison comparison(objects, &index, found.files, found.same);
  std::size_t cached = index.cached_trees().empty() ? Comparison::kNone : 0;
  os::GitId at = *tree;
  for (std::size_t begin = 0; begin < scope.size();) {
    const std::size_t end = scope.find('/', begin);
    const std::string name = scope.substr(begin, end - begin);
    const Tree handle = objects.tree(at);
    const git_tree_entry* entry = git_tree_entry_byname(handle.get(), name.c_str());
    if (entry == nullptr || git_tree_entry_filemode(entry) != GIT_FILEMODE_TREE) return found;
    at = id_of(*git_tree_entry_id(entry));
    cached = comparison.child_of(cached, name);
    begin = end + 1;
  }
  comparison.directory(at, scope, cached);
  std::sort(found.files.begin(), found.files.end(),
            [](const HeadFile& a, const HeadFile& b) { return a.path < b.path; });
  return found;
}

void list_tree(const Objects& objects, const os::GitId& tree, const std::string& prefix, std::vector<HeadFile>& into) {
  std::vector<os::GitIndex::Range> unused;
  Comparison(objects, nullptr, into, unused).directory(tree, prefix, Comparison::kNone);
}

}  // namespace runner::git
