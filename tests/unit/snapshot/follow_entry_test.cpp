#include <catch2/catch.hpp>

#include "made_trees.hpp"
#include "support.hpp"

namespace runner::snapshot {
namespace {

using test::file;
using test::Node;

Node link(std::string target) { return file(std::move(target), EntryType::kSymlink); }

}  // namespace

TEST_CASE("links are followed within a snapshot, as if it lay where its source did") {
  test::MemoryStore store;
  const Node tree{.children = {{"a", Node{.children = {{"real", file("content")}, {"up", link("../b/./twice")}}}},
                               {"absolute", link("/src/project/a/real")},
                               {"b", Node{.children = {{"twice", link("../dir/real")}}}},
                               {"dangling", link("nowhere")},
                               {"dir", link("a")},
                               {"elsewhere", link("/src/project2/a/real")},
                               {"loop", link("loop")},
                               {"out", link("../project/a/real")},
                               {"root", link("/src/project/")}}};
  const Hash id = test::store_tree(store, tree);
  const auto followed = [&](const char* path) -> std::string {
    const auto entry = follow_entry(store, id, "/src/project", path);
    return entry ? entry->path : "none";
  };
  CHECK(followed("a/real") == "a/real");
  CHECK(followed("./a//real") == "a/real");
  CHECK(followed("dir/real") == "a/real");
  CHECK(followed("dir") == "a");
  CHECK(followed("a/up") == "a/real");
  CHECK(followed("absolute") == "a/real");
  CHECK(followed("root/dir/up") == "a/real");
  CHECK(followed("root") == "");
  for (const char* path : {"dangling", "elsewhere", "loop", "out", "a/real/x", "missing", "../project/a/real"})
    CHECK(followed(path) == "none");
}

}  // namespace runner::snapshot
