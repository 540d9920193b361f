#include "snapshot/large_tree.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "snapshot/tree_object.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

std::vector<std::string> named(std::vector<LargeTree::Directory> own, std::int64_t files, std::int64_t bytes) {
  std::vector<std::string> paths;
  for (const auto& directory : biggest_directories(std::move(own), {.path = "", .files = files, .bytes = bytes}))
    paths.push_back(directory.path + " " + std::to_string(directory.files) + " " + std::to_string(directory.bytes));
  return paths;
}

}  // namespace

TEST_CASE("the directories worth naming are those where most of it lies, as deep as it goes") {
  CHECK(named({{"", 10, 10}}, 100, 100).empty());
  CHECK(named({{"a/b/c/", 100, 0}, {"a/b/", 5, 0}, {"", 3, 0}}, 100, 100) == std::vector<std::string>{"a/b/c/ 100 0"});
  CHECK(named({{"a/b/", 50, 0}, {"a/c/", 50, 0}}, 100, 100) == std::vector<std::string>{"a/ 100 0"});
  CHECK(named({{"one/", 40, 0}, {"two/", 30, 0}, {"three/", 20, 0}, {"four/", 10, 0}}, 100, 100) ==
        std::vector<std::string>{"one/ 40 0", "two/ 30 0", "three/ 20 0"});
  CHECK(named({{"much/", 91, 0}, {"little/", 9, 0}}, 100, 100) == std::vector<std::string>{"much/ 91 0"});
  // Few large files weigh as much as many small ones, each by its own limit.
  CHECK(named({{"data/", 1, 1000}, {"src/", 60, 1}}, 100, 500) ==
        std::vector<std::string>{"data/ 1 1000", "src/ 60 1"});
}

TEST_CASE("a large snapshot is announced before anything is copied, and only what is new counts") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  store.generation = 1;
  for (int i = 0; i < 120; ++i) write_file(dir.path() / "data/images" / std::to_string(i), std::to_string(i));
  write_file(dir.path() / "train.py", "print(1)");
  std::vector<std::string> told;
  bool copied_before = false;
  Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  options.before_large_copy = [&](const std::string& warning) {
    told.push_back(warning);
    copied_before = store.contains(sha256("0")) || store.contains(sha256(std::string(2 << 20, 'x')));
  };
  options.large_files = 100;
  options.large_bytes = 1 << 20;

  SECTION("by its files") {
    take(options, store);
    REQUIRE(told.size() == 1);
    CHECK_FALSE(copied_before);
    CHECK(told[0] ==
          "large snapshot: 121 files, 258 B will be copied; most of it is in data/images/ (120 files, 250 B); the line "
          "/data/images/ in .gitignore leaves the first out");
    told.clear();
    take(options, store);
    CHECK(told.empty());
    write_file(dir.path() / "data/images/new", "new");
    take(options, store);
    CHECK(told.empty());
  }
  SECTION("by its bytes") {
    write_file(dir.path() / ".amlignore", "images\n");
    write_file(dir.path() / "model/large.bin", std::string(2 << 20, 'x'));
    take(options, store);
    REQUIRE(told.size() == 1);
    CHECK_FALSE(copied_before);
    CHECK(told[0].ends_with("the line /model/ in .amlignore leaves the first out"));
  }
  SECTION("spread over so many directories that not all are held open") {
    for (int i = 0; i < 900; ++i) write_file(dir.path() / "many" / std::to_string(i) / "file", std::to_string(i));
    take(options, store);
    REQUIRE(told.size() == 1);
    CHECK_FALSE(copied_before);
    CHECK(told[0].starts_with("large snapshot: 1021 files"));
  }
  SECTION("many changed directories that are few files are no reason") {
    options.large_files = 2000;
    for (int i = 0; i < 900; ++i) write_file(dir.path() / "many" / std::to_string(i) / "file", std::to_string(i));
    const Snapshot taken = take(options, store);
    CHECK(told.empty());
    CHECK(taken.files == 1021);
  }
  SECTION("not when nobody wants to know") {
    options.before_large_copy = {};
    take(options, store);
    CHECK(told.empty());
  }
  SECTION("and whoever is told may stop it") {
    options.before_large_copy = [](const std::string&) { throw Error(runner::ErrorCode::kInvalid, "no"); };
    CHECK_THROWS_AS(take(options, store), Error);
    CHECK(store.count() == 0);
  }
}
