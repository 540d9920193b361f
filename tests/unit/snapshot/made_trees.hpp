// Trees written by hand, for tests that need snapshots and no files.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "snapshot/tree_object.hpp"
#include "support.hpp"

namespace runner::test {

struct Node {
  snapshot::EntryType type = snapshot::EntryType::kDirectory;
  std::string content{};  // of a file, or a link's target
  std::map<std::string, Node> children{};
  bool operator==(const Node&) const = default;
};

inline Node file(std::string content, snapshot::EntryType type = snapshot::EntryType::kFile) {
  return Node{.type = type, .content = std::move(content)};
}

// The snapshot's id.
inline Hash store_tree(MemoryStore& store, const Node& directory) {
  snapshot::TreeEncoder encoder;
  for (const auto& [name, node] : directory.children) {
    const bool inner = node.type == snapshot::EntryType::kDirectory;
    const Hash content = inner ? store_tree(store, node) : store.put(node.content);
    encoder.add(name, node.type, content, static_cast<std::int64_t>(node.content.size()));
  }
  return store.put(encoder.bytes());
}

// Path → type, mode and content, of everything in the tree.
inline void list_tree(const Node& directory, const std::string& prefix, std::map<std::string, std::string>& into) {
  for (const auto& [name, node] : directory.children) {
    switch (node.type) {
      case snapshot::EntryType::kDirectory:
        into[prefix + name] = "d 755";
        list_tree(node, prefix + name + "/", into);
        break;
      case snapshot::EntryType::kFile:
        into[prefix + name] = "f 644 " + node.content;
        break;
      case snapshot::EntryType::kExecutable:
        into[prefix + name] = "f 755 " + node.content;
        break;
      case snapshot::EntryType::kSymlink:
        into[prefix + name] = "l " + node.content;
        break;
    }
  }
}
inline std::map<std::string, std::string> list_tree(const Node& root) {
  std::map<std::string, std::string> list;
  list_tree(root, "", list);
  return list;
}

}  // namespace runner::test
