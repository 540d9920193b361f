// The patch of two snapshots, judged by git itself: `git apply` on the first tree must give the second.
#include "snapshot/code_diff.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>
#include <span>
#include <utility>

#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using runner::Hash;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

// Two trees on their way into one store.
struct Pair {
  TempDir a;
  TempDir b;
  MemoryStore store;

  Hash freeze(const fs::path& directory) {
    return take({.source = directory, .data_directory = {}, .stat_cache = {}}, store).id;
  }
  std::vector<FileChange> changes() { return changed_files(store, freeze(a.path()), freeze(b.path())); }
  std::string patch() {
    std::string text;
    for (const FileChange& change : changes())
      write_patch(store, change, [&text](std::span<const std::byte> piece) {
        text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      });
    return text;
  }
};

// Every entry that a patch can express: no directories.
std::vector<std::string> listing(const MemoryStore& store, const Hash& id) {
  std::vector<std::string> lines;
  for_each_entry(store, id, [&](const Entry& entry) {
    if (entry.type != EntryType::kDirectory)
      lines.push_back(std::string(1, static_cast<char>(entry.type)) + " " + entry.content.hex() + " " + entry.path);
  });
  return lines;
}

// What git makes of A with the patch.
std::vector<std::string> applied(Pair& pair, const std::string& patch) {
  const TempDir work;
  materialize(pair.store, pair.freeze(pair.a.path()), work.path() / "tree");
  write_file(work.path() / "patch", patch);
  if (!patch.empty()) git(work.path() / "tree", {"apply", "--whitespace=nowarn", (work.path() / "patch").string()});
  return listing(pair.store, pair.freeze(work.path() / "tree"));
}

std::string numbered(int lines, const std::string& end = "\n") {
  std::string text;
  for (int i = 0; i < lines; ++i) text += "line " + std::to_string(i) + end;
  return text;
}

class RandomTrees {
 public:
  explicit RandomTrees(unsigned seed) : random_(seed) {}

  void fill(Pair& pair) {
    for (int i = 0; i < 12; ++i) {
      const std::string name = kNames[below(kNames.size())];
      if (taken_.contains(name.substr(0, name.find('/')))) continue;
      taken_[name.substr(0, name.find('/'))] = true;
      std::string text = content();
      if (below(8) != 0) put(pair.a, name, text);
      switch (below(6)) {
        case 0:  // gone
          break;
        case 1:  // renamed, perhaps edited
          put(pair.b, "moved " + std::to_string(i) + "/" + name, below(2) == 0 ? text : edited(text));
          break;
        case 2:
          put(pair.b, name, text);
          break;
        case 3:  // a directory in its place; git apply will not have one where a link was that was also renamed
          if (!fs::is_symlink(pair.a.path() / name)) put(pair.b, name + "/below", content());
          break;
        default:
          put(pair.b, name, edited(text));
      }
    }
  }

 private:
  std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }

  std::string content() {
    std::string text;
    const std::size_t lines = below(4) == 0 ? 0 : below(30);
    for (std::size_t i = 0; i < lines; ++i) text += "w" + std::to_string(below(40)) + (below(6) == 0 ? "\r\n" : "\n");
    if (below(4) == 0) text += "no end \xff";
    return text;
  }

  std::string edited(const std::string& text) {
    std::string now;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
      if (below(8) != 0) now += text.substr(at, end - at);
      if (below(8) == 0) now += "new " + std::to_string(below(9)) + "\n";
      at = end;
    }
    return below(5) == 0 ? now + "tail" : now;
  }

  void put(const TempDir& tree, const std::string& name, const std::string& text) {
    const fs::path path = tree.path() / name;
    fs::create_directories(path.parent_path());
    if (below(6) == 0)
      fs::create_symlink(text.empty() || text.find('\0') != std::string::npos ? "/nowhere" : text.substr(0, 50), path);
    else
      write_file(path, text, below(5) == 0 ? 0755 : 0644);
  }

  const std::vector<std::string> kNames{"a.py",     "b c.txt",   "sub/d",     "sub2/deep/e", "\xff\xfe",
                                        "quote\"s", "tab\tname", "new\nline", "back\\slash", "-dash",
                                        "ünï/x y",  "z\x01",     "f",         "g/h"};
  std::mt19937 random_;
  std::map<std::string, bool> taken_;
};

}  // namespace

TEST_CASE("git apply makes the second tree of the first, whatever changed and whatever it is called") {
  const unsigned seed =
      std::getenv("RUNNER_FUZZ_SEED") ? static_cast<unsigned>(std::atoi(std::getenv("RUNNER_FUZZ_SEED"))) : 1;
  const unsigned trees =
      std::getenv("RUNNER_FUZZ_TREES") ? static_cast<unsigned>(std::atoi(std::getenv("RUNNER_FUZZ_TREES"))) : 150;
  for (unsigned i = 0; i < trees; ++i) {
    Pair pair;
    RandomTrees(seed + i).fill(pair);
    const std::string patch = pair.patch();
    INFO("RUNNER_FUZZ_SEED=" << seed + i << " RUNNER_FUZZ_TREES=1\n" << patch);
    REQUIRE(applied(pair, patch) == listing(pair.store, pair.freeze(pair.b.path())));
  }
}

TEST_CASE("the patch is what git diff prints for the same two trees") {
  Pair pair;
  const auto both = [&pair](const std::string& name, const std::string& before, const std::string& after) {
    write_file(pair.a.path() / name, before);
    write_file(pair.b.path() / name, after);
  };
  both("plain.txt", numbered(40), numbered(20) + "inserted\n" + numbered(20));
  both("with blank", "one\n", "two\n");
  both("end", "no newline", "no newline either");
  both("t\tab \"q\" \xc3\xa9", "x\n", "y\n");
  both("bin", std::string("a\0b", 3), std::string("a\0c", 3));
  write_file(pair.b.path() / "new", "fresh\n");
  write_file(pair.b.path() / "new empty", "");
  write_file(pair.a.path() / "gone", "old\n");
  write_file(pair.b.path() / "tool", "#!/bin/sh\n", 0755);
  write_file(pair.a.path() / "tool", "#!/bin/sh\n", 0644);
  write_file(pair.a.path() / "from/exact", "the same content\n");
  write_file(pair.b.path() / "to/exact", "the same content\n");
  fs::create_symlink("there", pair.a.path() / "link");
  fs::create_symlink("elsewhere", pair.b.path() / "link");
  fs::create_symlink("there", pair.a.path() / "turns");
  write_file(pair.b.path() / "turns", "into a file\n");

  const TempDir repository;
  git(repository.path(), {"init", "-q"});
  const auto commit = [&](const fs::path& tree) {
    git(repository.path(), {"--work-tree=" + tree.string(), "add", "-A", "."});
    git(repository.path(), {"commit", "-q", "-m", "x"});
  };
  commit(pair.a.path());
  commit(pair.b.path());
  CHECK(pair.patch() == git(repository.path(), {"-c", "core.abbrev=7", "diff", "-M", "HEAD~1", "HEAD"}));
}

TEST_CASE("a file that was moved and edited is one change, and the closest of several is taken") {
  Pair pair;
  write_file(pair.a.path() / "old/model.py", numbered(40));
  write_file(pair.a.path() / "other.py", numbered(20) + numbered(10));
  write_file(pair.b.path() / "new/model.py", numbered(40) + "one more\n");
  write_file(pair.b.path() / "nothing.py", "of the kind\n");
  const auto changes = pair.changes();
  REQUIRE(changes.size() == 3);
  CHECK(changes[0].path == "new/model.py");
  CHECK(changes[0].status == ChangeStatus::kRenamed);
  CHECK(changes[0].old_path == "old/model.py");
  CHECK(changes[0].similarity > 50);
  CHECK(changes[0].similarity < 100);
  CHECK(count_lines(pair.store, changes[0]).additions == 1);
  CHECK(count_lines(pair.store, changes[0]).deletions == 0);
  CHECK(changes[1].path == "nothing.py");
  CHECK(changes[1].status == ChangeStatus::kAdded);
  CHECK(changes[2].path == "other.py");
  CHECK(changes[2].status == ChangeStatus::kDeleted);
}

TEST_CASE("of equal files each is used once, and one that kept its name goes first") {
  Pair pair;
  for (const char* name : {"a/one", "a/two", "a/three"}) write_file(pair.a.path() / name, "equal\n");
  for (const char* name : {"b/two", "b/four"}) write_file(pair.b.path() / name, "equal\n");
  const auto changes = pair.changes();
  REQUIRE(changes.size() == 3);
  CHECK(changes[0].path == "a/three");
  CHECK(changes[0].status == ChangeStatus::kDeleted);
  CHECK(changes[1].path == "b/four");
  CHECK(changes[1].old_path == "a/one");
  CHECK(changes[2].path == "b/two");
  CHECK(changes[2].old_path == "a/two");
  CHECK(changes[2].similarity == 100);
}

TEST_CASE("empty files are not taken for each other, and a link not for a file") {
  Pair pair;
  write_file(pair.a.path() / "empty", "");
  write_file(pair.b.path() / "also empty", "");
  fs::create_symlink("target", pair.a.path() / "link");
  write_file(pair.b.path() / "file", "target");
  for (const FileChange& change : pair.changes()) CHECK(change.status != ChangeStatus::kRenamed);
  CHECK(applied(pair, pair.patch()) == listing(pair.store, pair.freeze(pair.b.path())));
}

TEST_CASE("large files and files with a zero byte are named, not shown") {
  Pair pair;
  write_file(pair.a.path() / "large", std::string(static_cast<std::size_t>(kMostTextBytes), 'x') + "y");
  write_file(pair.b.path() / "large", std::string(static_cast<std::size_t>(kMostTextBytes), 'x') + "z");
  write_file(pair.b.path() / "late zero", std::string(20'000, 'x') + '\0');
  const auto changes = pair.changes();
  REQUIRE(changes.size() == 2);
  for (const FileChange& change : changes) CHECK(count_lines(pair.store, change).binary);
  const std::string patch = pair.patch();
  CHECK(patch.find("Binary files a/large and b/large differ\n") != std::string::npos);
  CHECK(patch.find("Binary files /dev/null and b/late zero differ\n") != std::string::npos);
  CHECK(patch.size() < 1000);
}

TEST_CASE("an empty directory is a change that no patch can express") {
  Pair pair;
  write_file(pair.a.path() / "kept", "");
  write_file(pair.b.path() / "kept", "");
  fs::create_directories(pair.b.path() / "logs");
  fs::create_directories(pair.b.path() / "full");
  write_file(pair.b.path() / "full/file", "x");
  const auto changes = pair.changes();
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].path == "full/file");
  CHECK(changes[1].path == "logs");
  CHECK(changes[1].after->type == EntryType::kDirectory);
  CHECK(pair.patch().find("logs") == std::string::npos);
}

TEST_CASE("equal snapshots have no difference, and a missing content is named") {
  Pair pair;
  write_file(pair.a.path() / "x", "1\n");
  write_file(pair.b.path() / "x", "1\n");
  CHECK(pair.changes().empty());
  write_file(pair.b.path() / "x", "2\n");
  const auto changes = pair.changes();
  REQUIRE(changes.size() == 1);
  pair.store.forget(changes[0].after->content);
  CHECK_THROWS_WITH(write_patch(pair.store, changes[0], [](auto) {}), Catch::Contains("read x"));
}
