// What a collection frees, what it never frees, and that it may be killed.
#include "store/content_gc.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "fixture.hpp"
#include "store/content_store.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

constexpr std::chrono::seconds kPatience{30};

Hash put_one(ContentStore& content, std::string_view bytes) {
  const auto batch = content.begin();
  const Hash hash = batch->put(bytes_of(bytes));
  batch->commit();
  return hash;
}

ContentCollection::Swept collect(ContentStore& content, const std::vector<Hash>& roots, bool contents = true) {
  const auto collection = content.collect(false, kPatience, [] {});
  for (const Hash& root : roots) collection->keep(root);
  const auto swept = collection->sweep(contents);
  collection->shrink();
  return swept;
}

std::int64_t count(const TemporaryDirectory& directory, const std::string& query) {
  return std::stoll(sql(directory / "content.db", query));
}

// Nothing dangles and nothing is left over.
void check_consistent(const TemporaryDirectory& directory) {
  CHECK(sql(directory / "content.db", "PRAGMA integrity_check") == "ok");
  CHECK(count(directory, "SELECT count(*) FROM pragma_foreign_key_check") == 0);
  CHECK(count(directory,
              "SELECT count(*) FROM chunk WHERE id NOT IN (SELECT chunk FROM content WHERE chunk IS NOT NULL)") == 0);
}

}  // namespace

TEST_CASE("A collection frees exactly what is not kept, pieces included, and the file gets smaller") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string shared = random_bytes(3U << 20, 1);  // its pieces belong to both large contents
  const std::string large_kept = shared + random_bytes(2U << 20, 2);
  const std::string large_gone = shared + random_bytes(9U << 20, 3);
  std::vector<Hash> kept{put_one(content, large_kept), put_one(content, "kept"), put_one(content, "")};
  std::vector<Hash> gone{put_one(content, large_gone)};
  for (int i = 0; i < 300; ++i) {
    kept.push_back(put_one(content, "kept " + std::to_string(i)));
    gone.push_back(put_one(content, random_bytes(9000, static_cast<std::uint64_t>(1000 + i))));
  }
  const std::int64_t before = content.disk_bytes();

  const auto swept = collect(content, kept);

  CHECK(swept.contents == static_cast<std::int64_t>(gone.size()));
  CHECK(swept.spared == 0);
  for (const Hash& hash : gone) CHECK_FALSE(content.contains(hash));
  CHECK(content.read_all(kept[0]) == large_kept);
  CHECK(content.read_all(kept[1]) == "kept");
  CHECK(content.read_all(kept[2]).empty());
  for (std::size_t i = 3; i < kept.size(); ++i) CHECK(content.contains(kept[i]));
  CHECK(content.disk_bytes() < before - (9 << 20));
  CHECK(count(directory, "PRAGMA freelist_count") == 0);
  check_consistent(directory);
  CHECK(collect(content, kept).contents == 0);
}

TEST_CASE("What is freed can be stored again, and a batch's generation changes with it") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string large = random_bytes(5U << 20, 4);
  const Hash hash = put_one(content, large);
  const std::uint64_t before = content.begin()->generation();
  collect(content, {hash});
  CHECK(content.begin()->generation() == before);  // nothing was freed
  collect(content, {});
  CHECK_FALSE(content.contains(hash));
  CHECK(content.begin()->generation() != before);
  CHECK(put_one(content, large) == hash);
  CHECK(content.read_all(hash) == large);
  check_consistent(directory);
}

TEST_CASE("A dry collection tells the same and changes no row") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const Hash kept = put_one(content, "kept");
  put_one(content, random_bytes(5U << 20, 5));
  put_one(content, "gone");
  const std::string everything =
      "SELECT (SELECT group_concat(hex(hash) || size || coalesce(chunk, '')) FROM content) || "
      "(SELECT group_concat(id || hex(substr(data, 1, 9))) FROM chunk) || (SELECT value FROM generation)";
  const std::string before = sql(directory / "content.db", everything);
  const auto told = [&](bool dry) {
    const auto collection = content.collect(dry, kPatience, [] {});
    collection->keep(kept);
    std::vector<std::tuple<Hash, std::int64_t, std::int64_t, bool>> garbage;
    collection->for_each_garbage([&](const ContentCollection::Garbage& one) {
      garbage.emplace_back(one.hash, one.bytes, one.stored_bytes, one.is_piece);
    });
    return garbage;
  };
  const auto dry = told(true);
  CHECK(sql(directory / "content.db", everything) == before);
  CHECK(std::count_if(dry.begin(), dry.end(), [](const auto& one) { return !std::get<3>(one); }) == 2);
  CHECK(told(false) == dry);
}

TEST_CASE("Chunks of a killed batch are freed, also when contents must stay") {
  const TemporaryDirectory directory;
  Hash kept;
  crash_after([&] {
    ContentStore content(directory / "content.db");
    kept = put_one(content, "kept");
    const auto batch = content.begin();
    for (std::uint64_t i = 0; i < 5; ++i) batch->put(bytes_of(random_bytes(300'000, i)));
    ::kill(::getpid(), SIGKILL);
  });
  ContentStore content(directory / "content.db");
  const Hash unnamed = put_one(content, "nobody names it");
  {
    const auto collection = content.collect(true, kPatience, [] {});
    CHECK(collection->stray_chunks().count == 5);
    CHECK(collection->stray_chunks().stored_bytes == 5 * 300'000);
  }
  CHECK(collect(content, {}, false).stray_chunks == 5);
  CHECK(content.contains(unnamed));
  check_consistent(directory);
}

TEST_CASE("A damaged row that names somebody else's chunk does not take it along") {
  const TemporaryDirectory directory;
  const auto file = directory / "content.db";
  Hash kept;
  Hash gone;
  {
    ContentStore content(file);
    kept = put_one(content, "kept");
    gone = put_one(content, "gone");
  }
  sql(file, "UPDATE content SET chunk = (SELECT chunk FROM content WHERE hash = x'" + kept.hex() +
                "') WHERE hash = x'" + gone.hex() + "'");
  ContentStore content(file);
  collect(content, {kept});
  CHECK_FALSE(content.contains(gone));
  CHECK(content.read_all(kept) == "kept");
  collect(content, {kept});  // the chunk that nobody named any more
  check_consistent(directory);
}

TEST_CASE("Killed at any step, a collection has lost nothing that is kept, and the next one finishes") {
  const TemporaryDirectory directory;
  std::vector<std::string> kept;
  std::vector<Hash> roots;
  {
    ContentStore content(directory / "content.db");
    for (std::uint64_t i = 0; i < 3; ++i) {
      kept.push_back(random_bytes(3U << 20, i));
      put_one(content, random_bytes(3U << 20, 100 + i));
    }
    for (int i = 0; i < 500; ++i) kept.push_back("kept " + std::to_string(i));
    for (const std::string& bytes : kept) roots.push_back(put_one(content, bytes));
    for (std::uint64_t i = 0; i < 500; ++i) put_one(content, random_bytes(5000, 1000 + i));
  }
  for (int steps = 1; steps < 60; steps += 4) {
    crash_after([&] {
      ContentStore content(directory / "content.db");
      int left = steps;
      const auto collection = content.collect(false, kPatience, [&left] {
        if (--left == 0) ::kill(::getpid(), SIGKILL);
      });
      for (const Hash& root : roots) collection->keep(root);
      collection->sweep();
      collection->shrink();
    });
    ContentStore content(directory / "content.db");
    for (std::size_t i = 0; i < kept.size(); ++i) REQUIRE(content.read_all(roots[i]) == kept[i]);
    CHECK(sql(directory / "content.db", "PRAGMA integrity_check") == "ok");
  }
  ContentStore content(directory / "content.db");
  collect(content, roots);
  for (std::size_t i = 0; i < kept.size(); ++i) REQUIRE(content.read_all(roots[i]) == kept[i]);
  CHECK(count(directory, "SELECT count(*) FROM content WHERE hash NOT IN (SELECT chunk FROM part)") ==
        static_cast<std::int64_t>(roots.size()));
  check_consistent(directory);
}

TEST_CASE("A second collection is refused, and one that waits too long for a hold") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  {
    const auto collection = content.collect(true, kPatience, [] {});
    const Error busy = error_of([&] { content.collect(true, kPatience, [] {}); });
    CHECK(busy.code() == ErrorCode::kConflict);
    const auto hold = content.hold();  // begun later: nothing waits for it
    collection->sweep();
  }
  const auto hold = content.hold();
  const Error slow = error_of([&] { content.collect(false, std::chrono::milliseconds{1}, [] {}); });
  CHECK(slow.code() == ErrorCode::kConflict);
  CHECK_FALSE(slow.hint().empty());
  CHECK(count(directory, "SELECT count(*) FROM chunk") == 0);
  CHECK(content.begin()->generation() != 0);  // it has left no trace
}

TEST_CASE("What a batch stores or finds while a collection is at work stays") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string large = random_bytes(5U << 20, 6);
  const Hash found_large = put_one(content, large);
  const Hash found = put_one(content, "found");
  const Hash gone = put_one(content, "gone");
  const auto collection = content.collect(false, kPatience, [] {});
  const auto batch = content.begin();
  CHECK(batch->generation() == 0);
  CHECK(batch->known(found_large));
  CHECK(batch->known(found));
  const Hash stored = batch->put(bytes_of("new"));
  collection->sweep();
  batch->commit();
  CHECK_FALSE(content.contains(gone));
  CHECK(content.read_all(found) == "found");
  CHECK(content.read_all(found_large) == large);
  CHECK(content.read_all(stored) == "new");
}

// Writers that name what they have stored or found, as submissions do, and a collector beside them.
TEST_CASE("Nothing that is held or named is ever lost while collections run without a pause") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  constexpr int kWriters = 4;
  constexpr int kRounds = 40;
  constexpr std::uint64_t kContents = 40;  // few: writers meet in the same ones, and they are freed again and again
  std::mutex mutex;
  std::map<int, std::vector<std::pair<Hash, std::string>>> named;  // by writer: what its present row names
  std::atomic<int> lost{0};
  std::atomic<int> writers{kWriters};
  const auto bytes_for = [](std::uint64_t number) {
    return number % 10 == 0 ? random_bytes((2U << 20) + 300'000, number) : random_bytes(2000 + number * 100, number);
  };
  const auto write = [&](int writer) {
    std::mt19937_64 generator(static_cast<std::uint64_t>(writer));
    for (int round = 0; round < kRounds; ++round) {
      const auto hold = content.hold();
      std::vector<std::pair<Hash, std::string>> mine;
      {
        const auto batch = content.begin();
        for (int i = 0; i < 6; ++i) {
          std::string bytes = bytes_for(generator() % kContents);
          const Hash hash = batch->put(bytes_of(bytes));
          if (!batch->known(hash)) batch->put(bytes_of(bytes));
          mine.emplace_back(hash, std::move(bytes));
        }
        batch->commit();
      }
      for (const auto& [hash, bytes] : mine) lost += !content.contains(hash);
      {
        const std::lock_guard lock(mutex);
        named[writer] = mine;  // the row; what the last one named is garbage now
      }
      for (const auto& [hash, bytes] : mine) try {
          lost += content.read_all(hash) != bytes;
        } catch (const Error&) {
          ++lost;
        }
    }
    --writers;
  };
  std::int64_t freed = 0;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < kWriters; ++writer) threads.emplace_back(write, writer);
    while (writers > 0) {
      const auto collection = content.collect(false, kPatience, [] {});
      {
        const std::lock_guard lock(mutex);
        for (const auto& [writer, contents] : named)
          for (const auto& [hash, bytes] : contents) collection->keep(hash);
      }
      freed += collection->sweep().contents;
      collection->shrink();
    }
  }
  CHECK(lost == 0);
  CHECK(freed > 0);
  std::vector<Hash> roots;
  for (const auto& [writer, contents] : named)
    for (const auto& [hash, bytes] : contents) {
      CHECK(content.read_all(hash) == bytes);
      roots.push_back(hash);
    }
  collect(content, roots);
  check_consistent(directory);
}
