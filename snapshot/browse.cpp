#include <algorithm>
#include <deque>
#include <functional>
#include <span>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

std::vector<TreeEntry> read_tree(const ContentReader& store, const Hash& tree, const std::string& path) {
  try {
    return decode_tree(store.read_all(tree));
  } catch (const Error& error) {  // an adapter's: says which directory of which tree
    throw error.within("snapshot tree " + tree.hex() + (path.empty() ? "" : " of " + path));
  }
}

void visit_tree(const ContentReader& store, const Hash& tree, const std::string& prefix,
                const std::function<void(const Entry&)>& visit) {
  for (TreeEntry& read : read_tree(store, tree, prefix)) {
    const Entry entry{.path = prefix + read.name, .type = read.type, .content = read.content, .bytes = read.bytes};
    visit(entry);
    if (entry.type == EntryType::kDirectory) visit_tree(store, entry.content, entry.path + "/", visit);
  }
}

void require(const ContentReader& store, const Hash& id) {
  if (!store.contains(id)) throw Error(ErrorCode::kNotFound, "no snapshot " + id.hex());
}

}  // namespace

void for_each_entry(const ContentReader& store, const Hash& id, const std::function<void(const Entry&)>& visit) {
  require(store, id);
  visit_tree(store, id, "", visit);
}

bool is_tree(const ContentReader& store, const Hash& id) {
  if (!store.contains(id)) return false;
  const std::string header = TreeEncoder().bytes();
  std::string front;
  store.read(id, 0, static_cast<std::int64_t>(header.size()), [&front](std::span<const std::byte> piece) {
    front.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return front == header;
}

std::optional<Entry> find_entry(const ContentReader& store, const Hash& id, std::string_view path) {
  require(store, id);
  Entry at{.path = "", .type = EntryType::kDirectory, .content = id, .bytes = 0};
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (at.type != EntryType::kDirectory) return std::nullopt;
    const auto entries = read_tree(store, at.content, at.path);
    const auto found =
        std::find_if(entries.begin(), entries.end(), [&](const TreeEntry& entry) { return entry.name == name; });
    if (found == entries.end()) return std::nullopt;
    at = {.path = at.path.empty() ? found->name : at.path + "/" + found->name,
          .type = found->type,
          .content = found->content,
          .bytes = found->bytes};
  }
  return at;
}

std::optional<Entry> follow_entry(const ContentReader& store, const Hash& id, const std::filesystem::path& place,
                                  std::string_view path) {
  constexpr int kMaxLinks = 40;  // as the kernel
  int links = 0;
  const std::filesystem::path given = path;
  std::deque<std::string> ahead(given.begin(), given.end());
  std::filesystem::path walked;
  std::optional<Entry> at = find_entry(store, id, "");
  while (!ahead.empty()) {
    const std::string name = std::move(ahead.front());
    ahead.pop_front();
    if (name.empty() || name == ".") continue;
    if (at->type != EntryType::kDirectory || (name == ".." && walked.empty())) return std::nullopt;
    std::filesystem::path next = name == ".." ? walked.parent_path() : walked / name;
    at = find_entry(store, id, next.native());
    if (!at) return std::nullopt;
    if (at->type == EntryType::kSymlink) {
      if (++links > kMaxLinks) return std::nullopt;
      std::filesystem::path target = store.read_all(at->content);
      if (target.is_absolute()) {
        const auto [rest, below] = std::mismatch(target.begin(), target.end(), place.begin(), place.end());
        if (below != place.end()) return std::nullopt;
        ahead.insert(ahead.begin(), rest, target.end());
        walked.clear();
      } else {
        ahead.insert(ahead.begin(), target.begin(), target.end());
      }
      at = find_entry(store, id, walked.native());
    } else {
      walked = std::move(next);
    }
  }
  return at;
}

}  // namespace runner::snapshot
