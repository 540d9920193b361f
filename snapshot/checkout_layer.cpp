#include "snapshot/checkout_layer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "snapshot/tree_diff.hpp"
#include "snapshot/tree_writer.hpp"

namespace runner::snapshot {
namespace {

// A thin layer pays as long as it is much smaller than the tree; a directory of many layers is slower to look through.
constexpr std::int64_t kThinShare = 4;
constexpr std::size_t kDeepest = 128;  // levels of directories in a thin layer

bool is_directory(const std::optional<TreeEntry>& entry) { return entry && entry->type == EntryType::kDirectory; }

std::int64_t weight_of(const Written& written) { return written.bytes + kEntryWeight * written.entries; }

os::Fd open_directory(const std::filesystem::path& directory) {
  return os::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

// Writes changes, which come depth first, into a layer that has no directories yet.
class ThinLayer {
 public:
  ThinLayer(const ContentReader& store, SharedDirectory root, std::string shown)
      : writer_(store, root->get()), root_(std::move(root)), shown_(std::move(shown)) {}

  Walk add(const TreeChange& change) {
    enter(std::string_view(change.path).substr(0, change.path.rfind('/') + 1));
    const SharedDirectory& directory = open_.empty() ? root_ : open_.back().directory;
    const std::string shown = shown_ + "/" + change.path;
    if (!change.after) {
      // As overlayfs marks what is gone; since Linux 5.8 everybody may make one. A directory with all that is in it is
      // one whiteout.
      if (::mknodat(directory->get(), change.before->name.c_str(), S_IFCHR, ::makedev(0, 0)) != 0)
        throw errno_error(errno, "whiteout " + shown);
      ++whiteouts_;
    } else if (is_directory(change.after)) {
      // What was no directory below hides what lies under it: overlayfs merges only directories.
      writer_.add_tree(writer_.make_directory(directory, change.after->name, shown), change.after->content, shown);
    } else {
      writer_.add_file(directory, *change.after, shown_ + "/" + parent_);
    }
    return Walk::kPast;
  }

  CheckoutRecord finish() {
    const Written written = writer_.finish();
    return {.weight = weight_of(written) + kEntryWeight * whiteouts_, .disk = written.disk, .boot = {}};
  }

 private:
  struct Open {
    std::size_t end;  // of its path, behind the '/'
    SharedDirectory directory;
  };

  // `path` is "" or ends with '/'. Makes what is missing; directories on the way that are left are not entered again,
  // since the changes are sorted.
  void enter(std::string_view path) {
    while (!open_.empty() && !path.starts_with(std::string_view(parent_).substr(0, open_.back().end))) open_.pop_back();
    parent_.resize(open_.empty() ? 0 : open_.back().end);
    while (parent_.size() < path.size()) {
      // Each level is a descriptor; a full checkout does without.
      if (open_.size() >= kDeepest) throw Error(ErrorCode::kInternal, "a thin layer: too deep: " + std::string(path));
      const std::string name(path.substr(parent_.size(), path.find('/', parent_.size()) - parent_.size()));
      SharedDirectory made =
          writer_.make_directory(open_.empty() ? root_ : open_.back().directory, name, shown_ + "/" + parent_ + name);
      parent_.append(name).append(1, '/');
      open_.push_back({parent_.size(), std::move(made)});
    }
  }

  TreeWriter writer_;
  const SharedDirectory root_;
  const std::string shown_;
  std::vector<Open> open_;  // the directories of `parent_`
  std::string parent_;      // where the last change was: "" or "a/b/"
  std::int64_t whiteouts_ = 0;
};

// Whether a tree weighs more than `limit`; looks no further than it has to.
bool outweighs(const ContentReader& store, const Hash& tree, std::int64_t& limit) {
  for (const TreeEntry& entry : decode_tree(store.read_all(tree))) {
    limit -= kEntryWeight + entry.bytes;
    if (limit < 0) return true;
    if (entry.type == EntryType::kDirectory && outweighs(store, entry.content, limit)) return true;
  }
  return false;
}

}  // namespace

std::optional<std::int64_t> thin_weight(const ContentReader& store, const LayerBase& base, const Hash& snapshot,
                                        std::int64_t limit) {
  std::int64_t weight = 0;
  try {
    walk_difference(store, base.snapshot, snapshot, [&](const TreeChange& change) {
      weight += kEntryWeight + (change.after ? change.after->bytes : 0);
      if (weight > limit) return Walk::kStop;
      return is_directory(change.after) && !is_directory(change.before) ? Walk::kInto : Walk::kPast;
    });
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kInternal) throw;
    return std::nullopt;  // no run has that snapshot any more, or it is damaged: no base (and if it is ours, its making
                          // says so)
  }
  return weight > limit ? std::nullopt : std::optional(weight);
}

std::optional<LayerBase> choose_base(const ContentReader& store, const std::vector<LayerBase>& candidates,
                                     const Hash& snapshot) {
  constexpr std::int64_t kLittle = 16 * kEntryWeight;
  const auto little_more_than = [](std::int64_t weight) { return weight + weight / 4 + kLittle; };
  struct Choice {
    const LayerBase* base;
    std::int64_t weight;
  };
  std::vector<Choice> choices;
  std::optional<std::int64_t> best;
  for (const LayerBase& base : candidates) {
    std::int64_t limit = base.weight / kThinShare;
    if (best) limit = std::min(limit, little_more_than(*best));
    const auto weight = thin_weight(store, base, snapshot, limit);
    if (!weight) continue;
    choices.push_back({&base, *weight});
    best = best ? std::min(*best, *weight) : *weight;
  }
  const Choice* chosen = nullptr;
  for (const Choice& choice : choices)
    if (choice.weight <= little_more_than(*best) && (!chosen || choice.base->below.size() < chosen->base->below.size()))
      chosen = &choice;
  if (!chosen) return std::nullopt;
  std::int64_t enough = kThinShare * chosen->weight;  // of a small tree, what is gone of a large one is no good measure
  return outweighs(store, snapshot, enough) ? std::optional(*chosen->base) : std::nullopt;
}

CheckoutRecord make_full_layer(const ContentReader& store, const Hash& snapshot, const std::filesystem::path& directory,
                               const std::string& shown) {
  auto root = std::make_shared<const os::Fd>(open_directory(directory));
  TreeWriter writer(store, root->get());
  writer.add_tree(std::move(root), snapshot, shown);
  const Written written = writer.finish();
  return {.weight = weight_of(written), .disk = written.disk, .boot = {}};
}

CheckoutRecord make_thin_layer(const ContentReader& store, const LayerBase& base, const Hash& snapshot,
                               const std::filesystem::path& directory, const std::string& shown) {
  ThinLayer layer(store, std::make_shared<const os::Fd>(open_directory(directory)), shown);
  walk_difference(store, base.snapshot, snapshot, [&](const TreeChange& change) { return layer.add(change); });
  CheckoutRecord record = layer.finish();
  record.weight += base.weight;
  record.below = base.below;
  record.below.insert(record.below.begin(), base.snapshot);
  return record;
}

}  // namespace runner::snapshot
