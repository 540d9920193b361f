#include "runner/collect/handed_over.hpp"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <fstream>
#include <span>

#include "memory_batch.hpp"
#include "runner/os/file.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;

struct Place {
  path root;
  Place() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-collect-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = name;
    os::make_directories(artifacts());
  }
  ~Place() { os::remove_tree(root); }
  path artifacts() const { return root / "artifacts"; }
  path put(const path& name, const std::string& content) const {
    os::make_directories((artifacts() / name).parent_path());
    std::ofstream(artifacts() / name, std::ios::binary) << content;
    return artifacts() / name;
  }
};

JournalArtifact record(const std::string& name, std::int64_t bytes, const std::string& run = {}) {
  return {.run = run, .name = name, .bytes = bytes};
}

Collected take(const Place& place, const JournalArtifact& file, test::MemoryBatch& batch) {
  Bounds spent;
  return HandedOverFiles(place.artifacts()).take(file, batch, spent);
}

void check_refused(const Place& place, const JournalArtifact& file, const std::string& why) {
  test::MemoryBatch batch;
  const Collected collected = take(place, file, batch);
  CHECK(collected.artifacts.empty());
  REQUIRE(collected.notices.size() == 1);
  CHECK_THAT(collected.notices.front(), Catch::Contains(why));
}

}  // namespace

TEST_CASE("a file that is handed over is stored under its name, and of a descendant as well") {
  const Place place;
  place.put("plots/a.png", "picture");
  place.put(".run-child/plots/a.png", "another");
  test::MemoryBatch batch;
  const Collected own = take(place, record("plots/a.png", 7), batch);
  REQUIRE(own.artifacts.size() == 1);
  CHECK(own.artifacts[0].name == "plots/a.png");
  CHECK(batch.content(own.artifacts[0].sha256) == "picture");
  CHECK(own.notices.empty());
  const Collected of_child = take(place, record("plots/a.png", 7, "child"), batch);
  REQUIRE(of_child.artifacts.size() == 1);
  CHECK(of_child.artifacts[0].name == "plots/a.png");
  CHECK(batch.content(of_child.artifacts[0].sha256) == "another");
}

TEST_CASE("what a record names and cannot be had becomes a notice") {
  const Place place;
  const path secret = place.root / "secret";
  std::ofstream(secret) << "not yours";
  std::filesystem::create_symlink(secret, place.artifacts() / "link");
  std::filesystem::create_directory_symlink(place.root, place.artifacts() / "out");
  ::mkfifo((place.artifacts() / "fifo").c_str(), 0600);
  place.put("emptied", "");
  place.put(".new-1-2", "half");
  check_refused(place, record("nothing", 1), "not there");
  check_refused(place, record("link", 9), "not stored");
  check_refused(place, record("out/secret", 9), "not stored");
  check_refused(place, record("../secret", 9), "not stored");
  check_refused(place, record("fifo", 1), "not a regular file");
  check_refused(place, record("emptied", 3), "emptied");
  check_refused(place, record(".new-1-2", 4), "not complete");
  check_refused(place, record("user_logs/std_log.txt", 4), "the runner's own");
  std::filesystem::remove_all(place.artifacts());
  check_refused(place, record("nothing", 1), "not stored");
}

TEST_CASE("a file of another size than its record says is stored, and that is said") {
  const Place place;
  place.put("a", "four");
  test::MemoryBatch batch;
  const Collected collected = take(place, record("a", 3), batch);
  CHECK(collected.artifacts.size() == 1);
  REQUIRE(collected.notices.size() == 1);
  CHECK_THAT(collected.notices.front(), Catch::Contains("4 bytes"));
}

TEST_CASE("sparse files share one allowance in a run, however many looks it takes") {
  const Place place;
  for (const char* name : {"a", "b"}) {
    place.put(name, "x");
    std::filesystem::resize_file(place.artifacts() / name, (kMaxUnwritten / 3) * 2);
  }
  const HandedOverFiles files(place.artifacts());
  Bounds spent;
  struct Counting final : ContentBatch {  // the bytes are not kept
    Hash put(std::span<const std::byte>) override { return {}; }
    Stored put_stream(const ReadSome& read) override {
      std::vector<std::byte> buffer(1 << 20);
      std::int64_t bytes = 0;
      while (const std::size_t got = read(buffer)) bytes += static_cast<std::int64_t>(got);
      return {{}, bytes};
    }
    void commit() override {}
  } batch;
  CHECK(files.take(record("a", (kMaxUnwritten / 3) * 2), batch, spent).artifacts.size() == 1);
  const Collected second = files.take(record("b", (kMaxUnwritten / 3) * 2), batch, spent);
  CHECK(second.artifacts.empty());
  REQUIRE(second.notices.size() == 1);
  CHECK_THAT(second.notices.front(), Catch::Contains("sparse"));
}

TEST_CASE("a file that grows while it is read is read no further than it was long") {
  const Place place;
  const std::string content(50, 'x');
  const path file = place.put("big", content);
  struct GrowingBatch : test::MemoryBatch {
    path file;
    int times = 0;
    Stored put_stream(const ReadSome& read) override {
      return MemoryBatch::put_stream([&](std::span<std::byte> buffer) {
        if (++times < 100) std::ofstream(file, std::ios::binary | std::ios::app) << "as fast as it is read";
        return read(buffer);
      });
    }
  } batch;
  batch.file = file;
  const Collected collected = take(place, record("big", static_cast<std::int64_t>(content.size())), batch);
  REQUIRE(collected.artifacts.size() == 1);
  CHECK(collected.artifacts[0].bytes == static_cast<std::int64_t>(content.size()));
  REQUIRE(collected.notices.size() == 1);
  CHECK_THAT(collected.notices[0], Catch::Contains("was still being written"));
}

TEST_CASE("a file that is taken is emptied and keeps its name, but not another name of it") {
  const Place place;
  const path file = place.put("a", "content");
  const path elsewhere = place.root / "data";
  std::ofstream(elsewhere) << "precious";
  std::filesystem::create_hard_link(elsewhere, place.artifacts() / "linked");
  std::filesystem::create_symlink(elsewhere, place.artifacts() / "link");
  const HandedOverFiles files(place.artifacts());
  for (const char* name : {"a", "linked", "link", "missing"}) files.empty(record(name, 7));
  CHECK(std::filesystem::file_size(file) == 0);
  CHECK(std::filesystem::file_size(elsewhere) == 8);
}

TEST_CASE("what lies there at the end and is not known is gathered by run, but no unfinished file") {
  const Place place;
  place.put("known", "1");
  place.put("deep/er/left", "22");
  place.put(".new-7-1", "half");
  place.put(".run-child/left", "333");
  place.put(".run-child/.new-7-2", "half");
  place.put(".run-stranger/x", "of nobody");
  place.put("system_logs/x", "ours");
  std::filesystem::create_symlink("/etc/passwd", place.artifacts() / "link");
  test::MemoryBatch batch;
  Bounds spent;
  const auto left = HandedOverFiles(place.artifacts()).gather_left(batch, spent, [](const auto& run, const auto& name) {
    return (run.empty() && name == "known") || run == "stranger";
  });
  REQUIRE(left.size() == 2);
  REQUIRE(left.at("").artifacts.size() == 1);
  CHECK(left.at("").artifacts[0].name == "deep/er/left");
  REQUIRE(left.at("").notices.size() == 1);
  CHECK_THAT(left.at("").notices[0], Catch::Contains("symbolic link"));
  REQUIRE(left.at("child").artifacts.size() == 1);
  CHECK(left.at("child").artifacts[0].name == "left");
  CHECK(spent.artifacts == 2);
  CHECK(HandedOverFiles(place.root / "none").gather_left(batch, spent, {}).empty());
}

}  // namespace runner::collect
