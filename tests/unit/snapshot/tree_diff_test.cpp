// Oracle: the flat lists of both snapshots, compared as maps.
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "made_trees.hpp"
#include "runner/core/error.hpp"
#include "snapshot/tree_diff.hpp"
#include "support.hpp"

namespace runner::snapshot {
namespace {

using test::file;
using test::MemoryStore;
using test::Node;
using test::store_tree;

// Notes which contents were opened.
class CountingReader : public ContentReader {
 public:
  explicit CountingReader(const ContentReader& store) : store_(store) {}
  bool contains(const Hash& hash) const override { return store_.contains(hash); }
  std::int64_t size(const Hash& hash) const override { return store_.size(hash); }
  void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const override {
    opened.insert(hash);
    store_.read(hash, offset, length, write);
  }
  mutable std::multiset<Hash> opened;

 private:
  const ContentReader& store_;
};

std::string shown(const std::optional<TreeEntry>& entry) {
  return entry ? std::string(1, static_cast<char>(entry->type)) : "-";
}

std::vector<std::string> difference(const ContentReader& store, const Hash& before, const Hash& after) {
  std::vector<std::string> changes;
  diff_trees(store, before, after, [&](const TreeChange& change) {
    changes.push_back(shown(change.before) + shown(change.after) + " " + change.path);
    return true;
  });
  return changes;
}

Node random_tree(std::mt19937& random, int depth) {
  Node directory;
  const auto below = [&](unsigned limit) { return random() % limit; };
  for (auto i = below(5) + (depth == 0 ? 1U : 0U); i > 0; --i) {
    const std::string name(1, static_cast<char>('a' + below(6)));
    if (depth < 3 && below(3) == 0)
      directory.children[name] = random_tree(random, depth + 1);
    else
      directory.children[name] = file(std::to_string(below(2)), std::array{EntryType::kFile, EntryType::kExecutable,
                                                                           EntryType::kSymlink}[below(3)]);
  }
  return directory;
}

}  // namespace

TEST_CASE("equal snapshots differ in nothing, and nothing is opened") {
  MemoryStore store;
  const Hash id = store_tree(store, Node{.children = {{"a", file("1")}}});
  const CountingReader reader(store);
  CHECK(difference(reader, id, id).empty());
  CHECK(reader.opened.empty());
}

TEST_CASE("only directories that differ are opened") {
  MemoryStore store;
  Node tree;
  for (int i = 0; i < 50; ++i)
    for (int k = 0; k < 20; ++k)
      tree.children["d" + std::to_string(i)].children["e"].children["f" + std::to_string(k)] =
          file(std::to_string(i * 100 + k));
  const Hash before = store_tree(store, tree);
  tree.children["d7"].children["e"].children["f3"] = file("changed");
  const Hash after = store_tree(store, tree);
  const CountingReader reader(store);
  CHECK(difference(reader, before, after) == std::vector<std::string>{"ff d7/e/f3"});
  CHECK(reader.opened.size() == 6);  // root, d7, d7/e on both sides
}

TEST_CASE("changes of type, mode and content, and directories with all that is in them") {
  MemoryStore store;
  const Node before{
      .children = {{"added-later", Node{}},
                   {"dir", Node{.children = {{"x", file("1")}, {"sub", Node{.children = {{"y", file("2")}}}}}}},
                   {"gone", Node{.children = {{"z", file("3")}}}},
                   {"link", file("target", EntryType::kSymlink)},
                   {"mode", file("m")},
                   {"same", file("s")}}};
  const Node after{.children = {{"added-later", Node{.children = {{"n", file("n")}}}},
                                {"dir", file("now a file")},
                                {"link", Node{.children = {{"inside", file("i")}}}},
                                {"mode", file("m", EntryType::kExecutable)},
                                {"new", Node{.children = {{"empty", Node{}}}}},
                                {"same", file("s")}}};
  CHECK(difference(store, store_tree(store, before), store_tree(store, after)) ==
        std::vector<std::string>{"-f added-later/n", "df dir", "d- dir/sub", "f- dir/sub/y", "f- dir/x", "d- gone",
                                 "f- gone/z", "ld link", "-f link/inside", "fx mode", "-d new", "-d new/empty"});
}

TEST_CASE("a visitor may stop, or walk past a directory without its being opened") {
  MemoryStore store;
  const Hash empty = store_tree(store, Node{});
  const Node big{.children = {{"d", Node{.children = {{"x", file("1")}}}}, {"e", file("2")}, {"f", file("3")}}};
  const Hash id = store_tree(store, big);
  std::vector<std::string> seen;
  diff_trees(store, empty, id, [&](const TreeChange& change) {
    seen.push_back(change.path);
    return change.path != "d/x";
  });
  CHECK(seen == std::vector<std::string>{"d", "d/x"});
  seen.clear();
  const CountingReader reader(store);
  walk_difference(reader, id, empty, [&](const TreeChange& change) {
    seen.push_back(change.path);
    return Walk::kPast;
  });
  CHECK(seen == std::vector<std::string>{"d", "e", "f"});
  CHECK(reader.opened.size() == 2);
}

TEST_CASE("random trees: the changes are what the two flat lists differ in") {
  std::mt19937 random(20240607);
  for (int round = 0; round < 300; ++round) {
    MemoryStore store;
    const Hash before = store_tree(store, random_tree(random, 0));
    const Hash after = store_tree(store, random_tree(random, 0));
    const auto listed = [&](const Hash& id) {
      std::map<std::string, Entry> entries;
      for_each_entry(store, id, [&](const Entry& entry) { entries.emplace(entry.path, entry); });
      return entries;
    };
    const auto left = listed(before);
    const auto right = listed(after);
    std::set<std::string> expected;
    const auto letter = [](const std::map<std::string, Entry>& entries, const std::string& path) {
      const auto at = entries.find(path);
      return at == entries.end() ? std::string("-") : std::string(1, static_cast<char>(at->second.type));
    };
    for (const auto* side : {&left, &right})
      for (const auto& [path, entry] : *side) {
        const std::string types = letter(left, path) + letter(right, path);
        if (types == "dd" || (types[0] == types[1] && left.at(path).content == right.at(path).content)) continue;
        expected.insert(types + " " + path);
      }
    const auto changes = difference(store, before, after);
    REQUIRE(changes.size() == expected.size());
    REQUIRE(std::set<std::string>(changes.begin(), changes.end()) == expected);
  }
}

TEST_CASE("a tree that is not in the store is named") {
  MemoryStore store;
  const Hash before = store_tree(store, Node{.children = {{"d", Node{.children = {{"x", file("1")}}}}}});
  const Hash after = store_tree(store, Node{.children = {{"d", Node{.children = {{"x", file("2")}}}}}});
  const auto lost = find_entry(store, before, "d");
  store.forget(lost->content);
  try {
    difference(store, before, after);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(std::string(error.message()).find(lost->content.hex() + " of d") != std::string::npos);
  }
}

}  // namespace runner::snapshot
