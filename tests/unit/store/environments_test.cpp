#include "store/environments.hpp"

#include <catch2/catch.hpp>

#include <fstream>

#include "fixture.hpp"
#include "runner/core/error.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

Hash hash_of(unsigned char first) {
  Hash hash{};
  hash.bytes[0] = first;
  return hash;
}

StoredEnvironment environment(unsigned char first) {
  return {.digest = hash_of(first),
          .kind = "venv",
          .specification = "{}",
          .identity = "kind: venv\n",
          .created = UtcTime(std::chrono::microseconds(first))};
}

struct Opened {
  TemporaryDirectory directory;
  History history{directory / "runner.db"};
  Environments environments{history};
};

}  // namespace

TEST_CASE("an environment is written once and found by its digest or the beginning of it") {
  Opened db;
  db.environments.add(environment(0xab));
  db.environments.add(environment(0xab));
  db.environments.add(environment(0xac));
  REQUIRE(db.environments.find(hash_of(0xab)));
  CHECK(db.environments.find(hash_of(0xab))->identity == "kind: venv\n");
  CHECK_FALSE(db.environments.find(hash_of(0x01)));
  CHECK(db.environments.resolve("ab00") == hash_of(0xab));
  CHECK_FALSE(db.environments.resolve("ab"));
  CHECK_FALSE(db.environments.resolve("ab0%"));
  CHECK(db.environments.all().size() == 2);
}

TEST_CASE("an ambiguous beginning of a digest names the candidates") {
  Opened db;
  StoredEnvironment second = environment(0xab);
  second.digest.bytes[31] = 1;
  db.environments.add(environment(0xab));
  db.environments.add(second);
  CHECK_THROWS_WITH(db.environments.resolve("ab000"), Catch::Contains("more than one environment: ab00"));
}

TEST_CASE("a published build becomes the environment's newest; an earlier lock stays") {
  Opened db;
  db.environments.add(environment(1));
  const auto build = [&](unsigned char lock, const char* directory) {
    return db.environments.publish({.environment = hash_of(1),
                                    .lock = hash_of(lock),
                                    .directory = directory,
                                    .interpreter = "/x/bin/python",
                                    .fingerprint = hash_of(9),
                                    .variables = {{"A", "b"}},
                                    .bytes = 7,
                                    .created = UtcTime(std::chrono::microseconds(5)),
                                    .used = UtcTime(std::chrono::microseconds(5))},
                                   "lock " + std::to_string(lock));
  };
  const auto first = build(2, "one");
  const auto second = build(3, "two");
  CHECK(db.environments.find(hash_of(1))->lock == hash_of(3));
  const auto builds = db.environments.builds(hash_of(1));
  REQUIRE(builds.size() == 2);
  CHECK(builds[0].id == second);
  CHECK(builds[0].variables == std::map<std::string, std::string>{{"A", "b"}});
  CHECK(builds[1].directory == "one");
  db.environments.touch(first, UtcTime(std::chrono::microseconds(8)));
  db.environments.touch(first, UtcTime(std::chrono::microseconds(6)));
  CHECK(db.environments.builds()[1].used == UtcTime(std::chrono::microseconds(8)));
  db.environments.forget_build(second);
  CHECK(db.environments.builds(hash_of(1)).size() == 1);
  CHECK(db.environments.lock(hash_of(3)) == "lock 3");
  CHECK(db.environments.lock(hash_of(2)) == "lock 2");
}

TEST_CASE("a registered environment's version rises only when its content changes, and is never given twice") {
  Opened db;
  const UtcTime now{};
  const auto add = [&](unsigned char content) { return db.environments.add_version("e", "{}", hash_of(content), now); };
  CHECK(add(1).environment.version == 1);
  const auto again = add(1);
  CHECK(again.existed);
  CHECK(again.environment.version == 1);
  CHECK(add(2).environment.version == 2);
  CHECK(add(1).environment.version == 3);
  CHECK(db.environments.version("e", std::nullopt)->version == 3);
  CHECK(db.environments.version("e", 2)->content == hash_of(2));
  CHECK(db.environments.remove_version("e", 3) == 1);
  CHECK(db.environments.version("e", std::nullopt)->version == 2);
  CHECK(add(5).environment.version == 4);
  CHECK(db.environments.versions(std::nullopt).size() == 3);
  CHECK(db.environments.version_with(hash_of(1))->version == 1);
  CHECK(db.environments.remove_version("e", std::nullopt) == 3);
  CHECK_FALSE(db.environments.version("e", std::nullopt));
  CHECK(db.environments.remove_version("e", std::nullopt) == 0);
}

TEST_CASE("a history of the first version learns of environments") {
  TemporaryDirectory directory;
  const auto file = directory / "runner.db";
  std::ifstream schema(RUNNER_SOURCE_DIR "/store/schema.sql");
  const std::string first((std::istreambuf_iterator<char>(schema)), {});
  REQUIRE(sql(file, first + "PRAGMA application_id=" + std::to_string(0x52756e52) + "; PRAGMA user_version=1").empty());
  History history(file);
  Environments environments(history);
  environments.add(environment(4));
  CHECK(environments.find(hash_of(4)));
  CHECK_FALSE(history.queue_held());
}
