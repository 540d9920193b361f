// Damage is found, named, kept from readers, and replaced by whoever brings the content again.
#include "store/content_check.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "fixture.hpp"
#include "store/content_store.hpp"
#include "store/history.hpp"

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

std::map<Hash, std::string> damaged(const ContentStore& content) {
  std::map<Hash, std::string> found;
  content.check([] {})->contents([&](const Hash& hash, const std::string& why) { found[hash] = why; });
  return found;
}

// Other bytes of the same length in a chunk.
const char* const kFlip =
    "UPDATE chunk SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB) WHERE id = (SELECT chunk FROM "
    "content WHERE hash = x'";

}  // namespace

TEST_CASE("A check of a sound store reads everything and finds nothing") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  put_one(content, "a");
  put_one(content, "");
  put_one(content, random_bytes(5U << 20, 1));
  int found = 0;
  int ticks = 0;
  const auto check = content.check([&ticks] { ++ticks; });
  const auto progress = check->contents([&](const Hash&, const std::string&) { ++found; });
  CHECK(found == 0);
  CHECK(ticks > 0);
  CHECK(progress.contents == std::stoll(sql(directory / "content.db", "SELECT count(*) FROM content")));
  CHECK(check->file().empty());
}

TEST_CASE(
    "Flipped bytes are found, by the check and before a reader gets them, and putting the content again heals it") {
  const TemporaryDirectory directory;
  const std::string small = random_bytes(5000, 2);
  const std::string large = random_bytes(5U << 20, 3);
  Hash small_hash;
  Hash large_hash;
  Hash piece;
  {
    ContentStore content(directory / "content.db");
    small_hash = put_one(content, small);
    large_hash = put_one(content, large);
    put_one(content, "sound");
  }
  piece = *Hash::from_hex(sql(directory / "content.db", "SELECT lower(hex(chunk)) FROM part ORDER BY offset LIMIT 1"));
  for (const Hash& hash : {small_hash, piece})
    REQUIRE(sql(directory / "content.db", kFlip + hash.hex() + "')").empty());

  ContentStore content(directory / "content.db");
  const std::uint64_t before = content.begin()->generation();
  const auto found = damaged(content);
  CHECK(found.size() == 3);
  for (const Hash& hash : {small_hash, large_hash, piece}) CHECK(found.contains(hash));
  CHECK(content.check([] {})->owners_of({piece, small_hash}) == std::vector{std::pair{piece, large_hash}});
  const Error refused = error_of([&] { content.read_all(small_hash); });
  CHECK(refused.code() == ErrorCode::kInternal);
  CHECK(refused.message().find(small_hash.hex()) != std::string::npos);
  {
    const auto batch = content.begin();
    CHECK_FALSE(batch->known(small_hash));
    CHECK(batch->generation() == 0);  // no cache may say that it is there
  }
  const bool one_batch = GENERATE(true, false);
  if (one_batch) {
    const auto batch = content.begin();
    batch->put(bytes_of(small));
    batch->put(bytes_of(large));
    batch->commit();
  } else {
    put_one(content, large);
    put_one(content, small);
  }
  CHECK(content.read_all(small_hash) == small);
  CHECK(content.read_all(large_hash) == large);
  CHECK(damaged(content).empty());
  CHECK(content.begin()->generation() == before);
  CHECK(sql(directory / "content.db", "PRAGMA foreign_key_check").empty());
}

TEST_CASE("A piece that is gone damages the content it belongs to") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::string large = random_bytes(5U << 20, 4);
  const Hash hash = put_one(content, large);
  const bool part_row = GENERATE(true, false);
  const std::string script = part_row
                                 ? "DELETE FROM part WHERE offset > 0"
                                 : "DELETE FROM content WHERE hash = (SELECT chunk FROM part WHERE offset > 0 LIMIT 1)";
  REQUIRE(sql(directory / "content.db", "PRAGMA foreign_keys=OFF; " + script).empty());
  const auto found = damaged(content);
  REQUIRE(found.size() == 1);
  CHECK(found.begin()->first == hash);
  put_one(content, large);
  CHECK(content.read_all(hash) == large);
  CHECK(damaged(content).empty());
}

TEST_CASE("A file whose pages are damaged is reported, not thrown") {
  const TemporaryDirectory directory;
  {
    History history(directory / "runner.db");
    for (int i = 0; i < 200; ++i) history.add_run(sample_run("e_1_" + std::to_string(10'000'000 + i)));
    CHECK(history.check_file().empty());
  }
  std::FILE* file = std::fopen((directory / "runner.db").c_str(), "r+b");
  REQUIRE(file != nullptr);
  std::fseek(file, 5 * 4096 + 8, SEEK_SET);
  for (int i = 0; i < 3000; ++i) std::fputc(0x5a, file);
  std::fclose(file);
  CHECK_FALSE(History(directory / "runner.db").check_file().empty());
}

TEST_CASE("What runs name is told run by run, oldest first") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  constexpr int kRuns = 600;  // more than one slice
  for (int i = 0; i < kRuns; ++i) {
    RunRecord run = sample_run("e_1_" + std::to_string(10'000'000 + i));
    if (i % 3 != 0) run.snapshot = hash_of_byte(static_cast<std::uint8_t>(i % 200 + 1));
    history.add_run(run);
  }
  const std::array artifacts{Artifact{"outputs/a", 3, hash_of_byte(1)}, Artifact{"outputs/b", 4, hash_of_byte(2)}};
  history.finish("e_1_10000007", RunStatus::kCompleted, "", {}, {}, at(1), artifacts);
  int index = 0;
  history.for_each_run_contents([&](const History::RunContents& run) {
    CHECK(run.id == "e_1_" + std::to_string(10'000'000 + index));
    CHECK(run.snapshot.has_value() == (index % 3 != 0));
    CHECK(run.artifacts.size() == (index == 7 ? 2U : 0U));
    if (index == 7) CHECK(run.artifacts[1].sha256 == hash_of_byte(2));
    ++index;
  });
  CHECK(index == kRuns);
}
