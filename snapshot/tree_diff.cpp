#include "snapshot/tree_diff.hpp"

#include <utility>
#include <vector>

#include "runner/core/error.hpp"

namespace runner::snapshot {
namespace {

using Entries = std::vector<TreeEntry>;

bool is_directory(const TreeEntry* entry) { return entry != nullptr && entry->type == EntryType::kDirectory; }

class Comparison {
 public:
  Comparison(const ContentReader& store, const std::function<Walk(const TreeChange&)>& visit)
      : store_(store), visit_(visit) {}

  // A missing tree has no entries. False: the visitor wants no more.
  bool compare(const Hash* before, const Hash* after) {
    const Entries left = read(before);
    const Entries right = read(after);
    auto a = left.begin();
    auto b = right.begin();
    while (a != left.end() || b != right.end()) {
      const bool take_left = b == right.end() || (a != left.end() && a->name <= b->name);
      const bool take_right = a == left.end() || (b != right.end() && b->name <= a->name);
      if (!compare_entries(take_left ? &*a : nullptr, take_right ? &*b : nullptr)) return false;
      if (take_left) ++a;
      if (take_right) ++b;
    }
    return true;
  }

 private:
  Entries read(const Hash* tree) const {
    if (tree == nullptr) return {};
    try {
      return decode_tree(store_.read_all(*tree));
    } catch (const Error& error) {
      throw error.within("snapshot tree " + tree->hex() + (path_.empty() ? "" : " of " + path_));
    }
  }

  bool compare_entries(const TreeEntry* before, const TreeEntry* after) {
    if (before && after && before->type == after->type && before->content == after->content) return true;
    const std::size_t length = path_.size();
    if (!path_.empty()) path_ += '/';
    path_ += (before ? before : after)->name;
    const bool go_on = is_directory(before) && is_directory(after) ? compare(&before->content, &after->content)
                                                                   : report(before, after);
    path_.resize(length);
    return go_on;
  }

  bool report(const TreeEntry* before, const TreeEntry* after) {
    TreeChange change{.path = path_, .before = {}, .after = {}};
    if (before) change.before = *before;
    if (after) change.after = *after;
    switch (visit_(change)) {
      case Walk::kStop:
        return false;
      case Walk::kPast:
        return true;
      case Walk::kInto:
        break;
    }
    if (is_directory(before)) return compare(&before->content, nullptr);
    if (is_directory(after)) return compare(nullptr, &after->content);
    return true;
  }

  const ContentReader& store_;
  const std::function<Walk(const TreeChange&)>& visit_;
  std::string path_;
};

}  // namespace

void walk_difference(const ContentReader& store, const Hash& before, const Hash& after,
                     const std::function<Walk(const TreeChange&)>& visit) {
  if (before == after) return;
  Comparison(store, visit).compare(&before, &after);
}

void diff_trees(const ContentReader& store, const Hash& before, const Hash& after,
                const std::function<bool(const TreeChange&)>& visit) {
  walk_difference(store, before, after,
                  [&](const TreeChange& change) { return visit(change) ? Walk::kInto : Walk::kStop; });
}

}  // namespace runner::snapshot
