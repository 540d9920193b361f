// What a cache of hashes may trust, and how a collection and the batches keep out of each other's way.
#include "store/content_uses.hpp"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <optional>
#include <string_view>
#include <thread>

#include "fixture.hpp"
#include "store/content_store.hpp"
#include "store/sqlite_handle.hpp"

using namespace runner;
using namespace runner::store;
using store_test::bytes_of;
using store_test::sql;
using store_test::TemporaryDirectory;

namespace {

Hash hash_of(unsigned char byte) {
  Hash hash;
  hash.bytes.fill(byte);
  return hash;
}

}  // namespace

TEST_CASE(
    "The generation stays over batches, changes with a deletion and with each opening, and is another in another "
    "file") {
  const TemporaryDirectory directory;
  const auto file = directory / "content.db";
  std::uint64_t first = 0;
  {
    ContentStore store(file);
    {
      const auto batch = store.begin();
      first = batch->generation();
      REQUIRE(first != 0);
      batch->put(bytes_of("one"));
      batch->commit();
      REQUIRE(batch->generation() == first);
    }
    store.begin()->put(bytes_of("dropped"));  // removes its chunk, which nobody could find
    REQUIRE(store.begin()->generation() == first);
  }
  const std::uint64_t second = ContentStore(file).begin()->generation();
  REQUIRE(second != first);
  {
    Connection connection(file, Connection::Mode::kReadWrite);
    change_generation(connection);
    REQUIRE(read_generation(connection) != second);
  }
  REQUIRE(ContentStore(file).begin()->generation() != first);
  REQUIRE(ContentStore(directory / "other.db").begin()->generation() != first);
}

TEST_CASE("A file that was copied back from an older one shows no generation that it had") {
  const TemporaryDirectory directory;
  const auto file = directory / "content.db";
  const auto store_one = [&](const char* text) {
    ContentStore store(file);
    const auto batch = store.begin();
    batch->put(bytes_of(text));
    batch->commit();
    return batch->generation();
  };
  const std::uint64_t first = store_one("one");
  std::filesystem::copy_file(file, directory / "old.db");
  const std::uint64_t later = store_one("two");
  std::filesystem::copy_file(directory / "old.db", file, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(file.string() + "-wal");
  std::filesystem::remove(file.string() + "-shm");
  const std::uint64_t back = ContentStore(file).begin()->generation();
  REQUIRE(back != later);
  REQUIRE(back != first);
}

TEST_CASE("Caches are told to ask again") {
  const TemporaryDirectory directory;
  ContentStore store(directory / "content.db");
  const std::uint64_t before = store.begin()->generation();
  store.distrust_caches();
  REQUIRE(store.begin()->generation() != before);
}

TEST_CASE("A content.db of the first schema version gets a generation") {
  const TemporaryDirectory directory;
  const auto file = directory / "content.db";
  { ContentStore(file).begin()->commit(); }
  REQUIRE(sql(file, "DROP TABLE generation; PRAGMA user_version=1").empty());
  REQUIRE(ContentStore(file).begin()->generation() != 0);
}

TEST_CASE("A collection waits for the uses before it and not for those after it") {
  ContentUses uses;
  std::optional<ContentUses::Use> before;
  before.emplace(uses);
  REQUIRE_FALSE(before->during_collection());
  std::promise<void> finish;
  std::atomic<bool> begun = false;
  std::jthread collector([&, may_end = finish.get_future()] {
    const ContentUses::Collection collection(uses);
    begun = true;
    may_end.wait();
  });
  // It has announced itself when a new use is told so; `before` holds it up until it ends.
  for (;;) {
    const ContentUses::Use during(uses);
    if (during.during_collection()) break;
    std::this_thread::yield();
  }
  REQUIRE_FALSE(begun);
  const ContentUses::Use during(uses);
  before.reset();
  while (!begun) std::this_thread::yield();  // ends: `during` does not hold it up
  finish.set_value();
  collector.join();
  REQUIRE_FALSE(ContentUses::Use(uses).during_collection());
}

TEST_CASE("What was touched during a collection is not deleted by it, and touching waits for what is being deleted") {
  ContentUses uses;
  uses.touch(hash_of(1));  // nothing is collected: not remembered
  std::optional<ContentUses::Collection> collection;
  collection.emplace(uses);
  uses.touch(hash_of(2));
  const std::array candidates{hash_of(1), hash_of(2), hash_of(3)};
  REQUIRE(collection->doom(candidates) == std::vector{hash_of(1), hash_of(3)});
  std::atomic<bool> touched = false;
  std::jthread toucher([&] {
    uses.touch(hash_of(3));
    touched = true;
  });
  uses.touch(hash_of(2));  // not doomed: at once
  REQUIRE_FALSE(touched);
  collection->deleted();
  toucher.join();
  REQUIRE(touched);
  REQUIRE(collection->doom(candidates) == std::vector{hash_of(1)});
  collection.reset();
  collection.emplace(uses);
  REQUIRE(collection->doom(candidates).size() == 3);
}
