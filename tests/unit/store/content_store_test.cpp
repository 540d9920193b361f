#include "store/content_store.hpp"

#include <algorithm>
#include <numeric>

#include "fixture.hpp"
#include "store/chunker.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

Hash put_one(ContentStore& content, std::string_view bytes) {
  const auto batch = content.begin();
  const Hash hash = batch->put(bytes_of(bytes));
  batch->commit();
  return hash;
}

// Reads at most `step` bytes a call, as a pipe would.
ReadSome reader_of(const std::string& bytes, std::size_t step) {
  return [&bytes, step, position = std::size_t{0}](std::span<std::byte> out) mutable {
    const std::size_t size = std::min({out.size(), step, bytes.size() - position});
    std::copy_n(bytes_of(bytes).begin() + static_cast<std::ptrdiff_t>(position), size, out.begin());
    position += size;
    return size;
  };
}

std::string read_range(const ContentStore& content, const Hash& hash, std::int64_t offset, std::int64_t length) {
  std::string all;
  content.read(hash, offset, length, [&](std::span<const std::byte> piece) {
    CHECK(piece.size() <= 1U << 20);
    CHECK_FALSE(piece.empty());
    all.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return all;
}

std::int64_t count(const TemporaryDirectory& directory, const std::string& query) {
  return std::stoll(sql(directory / "content.db", query));
}

}  // namespace

TEST_CASE("Content is named by its SHA-256 and comes back as it was, also after reopening") {
  const TemporaryDirectory directory;
  const std::size_t size = GENERATE(0U, 1U, 63U, 5000U, 131'071U, 131'072U, 2U << 20, (2U << 20) + 1, 9'000'001U);
  const bool compressible = GENERATE(true, false);
  const std::string bytes = compressible ? std::string(size, 'z') : random_bytes(size, size);
  Hash hash;
  {
    ContentStore content(directory / "content.db");
    hash = put_one(content, bytes);
    CHECK(content.contains(hash));
    const auto batch = content.begin();
    const auto streamed = batch->put_stream(reader_of(bytes, 100'000));
    CHECK(streamed.hash == hash);
    CHECK(streamed.bytes == static_cast<std::int64_t>(size));
    batch->commit();
  }
  const ContentStore content(directory / "content.db");
  CHECK(content.size(hash) == static_cast<std::int64_t>(size));
  CHECK(content.read_all(hash) == bytes);
}

TEST_CASE("The name is the one that sha256sum prints") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  CHECK(put_one(content, "abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(put_one(content, "").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("A stream that hands out single bytes gives the same content") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string bytes = random_bytes(70'000, 1);
  const auto batch = content.begin();
  const auto stored = batch->put_stream(reader_of(bytes, 1));
  batch->commit();
  CHECK(stored.hash == put_one(content, bytes));
  CHECK(content.read_all(stored.hash) == bytes);
}

TEST_CASE("What is not in the store is not found") {
  const TemporaryDirectory directory;
  const ContentStore content(directory / "content.db");
  const Hash hash = hash_of_byte(9);
  CHECK_FALSE(content.contains(hash));
  CHECK(error_of([&] { content.size(hash); }).code() == ErrorCode::kNotFound);
  CHECK(error_of([&] { content.read_all(hash); }).code() == ErrorCode::kNotFound);
}

TEST_CASE("Content that is known is not stored again, and a commit without news does not write") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string large = random_bytes(6U << 20, 3);
  const auto put_all = [&] {
    const auto batch = content.begin();
    for (int i = 0; i < 100; ++i) batch->put(bytes_of("small " + std::to_string(i % 10)));
    batch->put(bytes_of(large));
    batch->put_stream(reader_of(large, 65'536));
    batch->commit();
  };
  put_all();
  const auto chunks = count(directory, "SELECT count(*) FROM chunk");
  const auto wal_before = std::filesystem::last_write_time(directory / "content.db-wal");
  const auto wal_bytes = std::filesystem::file_size(directory / "content.db-wal");
  put_all();
  CHECK(count(directory, "SELECT count(*) FROM chunk") == chunks);
  CHECK(std::filesystem::last_write_time(directory / "content.db-wal") == wal_before);
  CHECK(std::filesystem::file_size(directory / "content.db-wal") == wal_bytes);
}

TEST_CASE("An insertion into a large file stores only the chunks around it") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  std::string bytes = random_bytes(24U << 20, 5);
  put_one(content, bytes);
  const auto before = count(directory, "SELECT sum(size) FROM chunk");
  CHECK(before == 24 << 20);
  bytes.insert(10U << 20, "an insertion");
  const Hash hash = put_one(content, bytes);
  CHECK(count(directory, "SELECT sum(size) FROM chunk") - before <= 3 * static_cast<std::int64_t>(kMaxChunk));
  CHECK(content.read_all(hash) == bytes);
}

TEST_CASE("Compression is kept where it pays and nowhere else") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  put_one(content, random_bytes(50'000, 1));
  CHECK(count(directory, "SELECT count(*) FROM chunk WHERE codec = 1") == 0);
  const std::string text(50'000, 'x');
  CHECK(content.read_all(put_one(content, text)) == text);
  CHECK(count(directory, "SELECT length(data) FROM chunk WHERE codec = 1") < 1000);
}

TEST_CASE("Any range can be read") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::size_t size = GENERATE(1000U, 7'000'000U);
  const std::string bytes = random_bytes(size, 8);
  const Hash hash = put_one(content, bytes);
  const auto end = static_cast<std::int64_t>(size);
  for (const auto& [offset, length] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 0},
                                                                                         {0, 1},
                                                                                         {0, -1},
                                                                                         {1, end - 2},
                                                                                         {end / 2, end / 3},
                                                                                         {end - 1, 1},
                                                                                         {end - 1, 100},
                                                                                         {end, -1},
                                                                                         {3, end + 5}})
    CHECK((read_range(content, hash, offset, length) ==
           bytes.substr(static_cast<std::size_t>(offset),
                        length < 0 ? std::string::npos : static_cast<std::size_t>(length))));
  CHECK(error_of([&] { read_range(content, hash, end + 1, 1); }).code() == ErrorCode::kInvalid);
  CHECK(error_of([&] { read_range(content, hash, -1, 1); }).code() == ErrorCode::kInvalid);
}

TEST_CASE("A reader may use the store while it is handed a piece, and may stop") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string bytes = random_bytes(5U << 20, 8);
  const Hash hash = put_one(content, bytes);
  int pieces = 0;
  content.read(hash, 0, -1, [&](auto) {
    ++pieces;
    content.read(hash, 0, -1, [&](auto) { content.read(hash, 0, 1, [](auto) {}); });
  });
  CHECK(pieces >= 5);
  CHECK_THROWS_AS(content.read(hash, 0, -1, [](auto) { throw std::runtime_error("enough"); }), std::runtime_error);
  CHECK(content.read_all(hash) == bytes);
}

TEST_CASE("Damage is detected before a byte is handed on") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const auto file = directory / "content.db";
  const std::string bytes = GENERATE(std::string(5000, 'z'), random_bytes(5000, 1));
  const Hash hash = put_one(content, bytes);
  const auto expect_damage = [&] {
    bool handed_on = false;
    const Error error = error_of([&] { content.read(hash, 0, -1, [&](auto) { handed_on = true; }); });
    CHECK(error.code() == ErrorCode::kInternal);
    CHECK(error.hint().find("runner fsck") != std::string::npos);
    CHECK_FALSE(handed_on);
  };
  SECTION("changed bytes") { REQUIRE(sql(file, "UPDATE chunk SET data = zeroblob(length(data))").empty()); }
  SECTION("a shorter chunk") { REQUIRE(sql(file, "UPDATE chunk SET data = x'', size = 1").empty()); }
  SECTION("an absurd size") {
    REQUIRE(sql(file, "UPDATE chunk SET size = 1 << 60; UPDATE content SET size = 1 << 60").empty());
  }
  SECTION("another chunk's bytes") {
    put_one(content, std::string(bytes.size(), 'q'));
    REQUIRE(sql(file, "UPDATE content SET chunk = 2 WHERE chunk = 1").empty());
  }
  SECTION("a missing chunk") { REQUIRE(sql(file, "PRAGMA foreign_keys=OFF; DELETE FROM chunk").empty()); }
  expect_damage();
}

TEST_CASE("Damage of an empty content is detected too") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const Hash hash = put_one(content, "");
  REQUIRE(sql(directory / "content.db", "UPDATE chunk SET data = x'00'").empty());
  CHECK(error_of([&] { content.read_all(hash); }).code() == ErrorCode::kInternal);
}

TEST_CASE("A missing part of a large content is detected, and what comes before it can be read") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string bytes = random_bytes(8U << 20, 4);
  const Hash hash = put_one(content, bytes);
  const auto offset = count(directory, "SELECT offset FROM part ORDER BY offset LIMIT 1 OFFSET 3");
  sql(directory / "content.db", "DELETE FROM part WHERE offset = " + std::to_string(offset));
  CHECK(read_range(content, hash, 0, offset) == bytes.substr(0, static_cast<std::size_t>(offset)));
  CHECK(error_of([&] { content.read(hash, offset, -1, [](auto) {}); }).code() == ErrorCode::kInternal);
}

TEST_CASE("Nothing of a batch can be seen before its commit, and a dropped batch leaves nothing") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string large = random_bytes(6U << 20, 2);
  std::vector<Hash> hashes;
  {
    const auto batch = content.begin();
    for (std::uint64_t i = 0; i < 3000; ++i) hashes.push_back(batch->put(bytes_of(random_bytes(2000, i))));
    hashes.push_back(batch->put(bytes_of(large)));
    CHECK(count(directory, "SELECT count(*) FROM chunk") > 0);  // memory stays bounded: some of it is written
    CHECK(std::none_of(hashes.begin(), hashes.end(), [&](const Hash& hash) { return content.contains(hash); }));

    // What another batch has written and not committed does not count as known.
    const auto other = content.begin();
    other->put(bytes_of(random_bytes(2000, 0)));
    other->put(bytes_of(large));
    other->commit();
    CHECK(content.contains(hashes.front()));
    CHECK(content.contains(hashes.back()));
  }
  CHECK(content.read_all(hashes.back()) == large);
  CHECK_FALSE(content.contains(hashes[1]));
  CHECK(count(directory, "SELECT count(*) FROM chunk") ==
        count(directory, "SELECT count(*) FROM content WHERE chunk IS NOT NULL"));
}

TEST_CASE("A batch can be used again after its commit") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const auto batch = content.begin();
  const Hash first = batch->put(bytes_of("first"));
  batch->commit();
  const Hash second = batch->put(bytes_of("second"));
  CHECK_FALSE(content.contains(second));
  batch->put(bytes_of("first"));
  batch->commit();
  CHECK(content.read_all(first) == "first");
  CHECK(content.read_all(second) == "second");
  CHECK(count(directory, "SELECT count(*) FROM chunk") == 2);
}

TEST_CASE("A reader that fails stops put_stream and leaves the batch usable") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const auto batch = content.begin();
  const Hash kept = batch->put(bytes_of("kept"));
  std::size_t left = 5U << 20;
  CHECK_THROWS_AS(batch->put_stream([&](std::span<std::byte> out) {
    if (left == 0) throw std::runtime_error("torn");
    const std::size_t size = std::min(left, out.size());
    std::fill_n(out.begin(), size, std::byte{1});
    left -= size;
    return size;
  }),
                  std::runtime_error);
  batch->commit();
  CHECK(content.read_all(kept) == "kept");
}

TEST_CASE("A committed batch survives SIGKILL, an uncommitted one leaves nothing visible") {
  const TemporaryDirectory directory;
  const std::string large = random_bytes(7U << 20, 1);
  const std::string lost = random_bytes(7U << 20, 2);
  crash_after([&] {
    ContentStore content(directory / "content.db");
    const auto committed = content.begin();
    committed->put(bytes_of(large));
    committed->put(bytes_of("small"));
    committed->commit();
    const auto torn = content.begin();
    torn->put(bytes_of(lost));
    torn->put(bytes_of("torn"));
    torn.get()->put_stream(reader_of(lost, 1U << 20));
  });
  ContentStore content(directory / "content.db");
  Hash large_hash;
  {
    const auto probe = content.begin();  // names only: never committed
    large_hash = probe->put(bytes_of(large));
    CHECK(content.contains(probe->put(bytes_of("small"))));
    CHECK_FALSE(content.contains(probe->put(bytes_of("torn"))));
    CHECK_FALSE(content.contains(probe->put(bytes_of(lost))));
  }
  CHECK(content.read_all(large_hash) == large);
  CHECK(content.read_all(put_one(content, lost)) == lost);
  CHECK(sql(directory / "content.db", "PRAGMA integrity_check") == "ok");
  CHECK(sql(directory / "content.db", "PRAGMA foreign_key_check").empty());
}

TEST_CASE("The content database has the page size and vacuum mode that it needs for ever") {
  const TemporaryDirectory directory;
  const auto file = directory / "content.db";
  { const ContentStore content(file); }
  CHECK(sql(file, "PRAGMA page_size") == "65536");
  CHECK(sql(file, "PRAGMA auto_vacuum") == "2");
  CHECK(sql(file, "PRAGMA user_version") == "2");
  sql(file, "PRAGMA user_version = 3");
  CHECK(error_of([&] { const ContentStore content(file); }).code() == ErrorCode::kConflict);
}
