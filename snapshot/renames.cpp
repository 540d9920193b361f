#include "snapshot/renames.hpp"

#include <git2.h>
#include <git2/sys/hashsig.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

namespace runner::snapshot {
namespace {

constexpr int kLeastSimilarity = 50;              // percent, git's default
constexpr std::size_t kMostCandidates = 400;      // on either side: 160 000 comparisons take a tenth of a second
constexpr std::int64_t kMostBytes = 1024 * 1024;  // of a file that is compared by its lines

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_link(const TreeEntry& entry) { return entry.type == EntryType::kSymlink; }

struct SignatureDeleter {
  void operator()(git_hashsig* signature) const { git_hashsig_free(signature); }
};
using Signature = std::unique_ptr<git_hashsig, SignatureDeleter>;

// Hashes of the file's lines; nothing for one that has none to compare.
Signature signature_of(const ContentReader& store, const TreeEntry& entry) {
  const std::string content = store.read_all(entry.content);
  git_hashsig* made = nullptr;
  const auto how = static_cast<git_hashsig_option_t>(GIT_HASHSIG_NORMAL | GIT_HASHSIG_ALLOW_SMALL_FILES);
  return Signature(git_hashsig_create(&made, content.data(), content.size(), how) == 0 ? made : nullptr);
}

struct Pair {
  int similarity;
  FileChange* deleted;
  FileChange* added;
};

class Renames {
 public:
  Renames(const ContentReader& store, std::vector<FileChange>& changes) : store_(store) {
    for (FileChange& change : changes) {
      const auto& entry = change.before ? change.before : change.after;
      // An empty file was renamed as well as it was removed: nothing tells the two apart.
      if (entry->type == EntryType::kDirectory || entry->bytes == 0) continue;
      if (change.status == ChangeStatus::kDeleted) deleted_.push_back(&change);
      if (change.status == ChangeStatus::kAdded) added_.push_back(&change);
    }
  }

  void find() {
    find_equal();
    forget_paired();
    find_similar();
  }

 private:
  // Of several files of one content those that kept their name, then the others, in order.
  void find_equal() {
    for (const bool by_name : {true, false}) {
      const auto key = [by_name](const TreeEntry& entry, std::string_view path) {
        return std::tuple(entry.content, is_link(entry), by_name ? base_name(path) : std::string_view());
      };
      std::map<std::tuple<Hash, bool, std::string_view>, std::deque<FileChange*>> waiting;
      for (FileChange* deleted : deleted_)
        if (deleted->status == ChangeStatus::kDeleted) waiting[key(*deleted->before, deleted->path)].push_back(deleted);
      for (FileChange* added : added_) {
        if (added->status != ChangeStatus::kAdded) continue;
        const auto at = waiting.find(key(*added->after, added->path));
        if (at == waiting.end() || at->second.empty()) continue;
        join({.similarity = 100, .deleted = at->second.front(), .added = added});
        at->second.pop_front();
      }
    }
  }

  void find_similar() {
    std::erase_if(deleted_, [](const FileChange* change) { return !comparable(*change->before); });
    std::erase_if(added_, [](const FileChange* change) { return !comparable(*change->after); });
    if (deleted_.empty() || added_.empty()) return;
    if (deleted_.size() > kMostCandidates || added_.size() > kMostCandidates) return;
    std::vector<Signature> before;
    for (const FileChange* deleted : deleted_) before.push_back(signature_of(store_, *deleted->before));
    std::vector<Pair> pairs;
    for (FileChange* added : added_) {
      const Signature after = signature_of(store_, *added->after);
      for (std::size_t i = 0; after && i < deleted_.size(); ++i) {
        const int similarity = similar(before[i], *deleted_[i]->before, after, *added->after);
        if (similarity >= kLeastSimilarity)
          pairs.push_back({.similarity = similarity, .deleted = deleted_[i], .added = added});
      }
    }
    std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) {
      if (a.similarity != b.similarity) return a.similarity > b.similarity;
      return kept_name(a) && !kept_name(b);
    });
    for (const Pair& pair : pairs)
      if (pair.deleted->status == ChangeStatus::kDeleted && pair.added->status == ChangeStatus::kAdded) join(pair);
  }

  void forget_paired() {
    std::erase_if(deleted_, [](const FileChange* change) { return change->status != ChangeStatus::kDeleted; });
    std::erase_if(added_, [](const FileChange* change) { return change->status != ChangeStatus::kAdded; });
  }

  static bool comparable(const TreeEntry& entry) { return !is_link(entry) && entry.bytes <= kMostBytes; }
  static bool kept_name(const Pair& pair) { return base_name(pair.deleted->path) == base_name(pair.added->path); }

  static int similar(const Signature& before, const TreeEntry& old_file, const Signature& after,
                     const TreeEntry& new_file) {
    const auto [less, more] = std::minmax(old_file.bytes, new_file.bytes);
    if (!before || less * 100 < more * kLeastSimilarity) return 0;
    return std::min(99, git_hashsig_compare(before.get(), after.get()));  // equal ones are paired already
  }

  // The added one becomes the renamed one; the deleted one is marked as used up.
  static void join(const Pair& pair) {
    FileChange& added = *pair.added;
    added.status = ChangeStatus::kRenamed;
    added.old_path = pair.deleted->path;
    added.before = std::move(pair.deleted->before);
    added.similarity = pair.similarity;
    pair.deleted->status = ChangeStatus::kRenamed;
    pair.deleted->before.reset();
  }

  const ContentReader& store_;
  std::vector<FileChange*> deleted_;
  std::vector<FileChange*> added_;
};

}  // namespace

void find_renames(const ContentReader& store, std::vector<FileChange>& changes) {
  Renames(store, changes).find();
  std::erase_if(changes, [](const FileChange& change) { return !change.before && !change.after; });
}

}  // namespace runner::snapshot
