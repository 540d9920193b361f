#include "runner/pipeline/environment_eviction.hpp"

#include <catch2/catch.hpp>

using namespace runner;
using namespace runner::pipeline;

namespace {

constexpr std::chrono::hours kDay{24};

UtcTime day(int number) { return UtcTime{} + number * kDay; }

Hash hash_of(unsigned char first) {
  Hash hash{};
  hash.bytes[0] = first;
  return hash;
}

store::EnvironmentBuild build(std::int64_t id, unsigned char environment, int used, std::int64_t bytes) {
  return {.id = id,
          .environment = hash_of(environment),
          .lock = hash_of(static_cast<unsigned char>(100 + id)),
          .directory = std::to_string(id),
          .bytes = bytes,
          .used = day(used)};
}

std::vector<std::int64_t> freed(std::vector<store::EnvironmentBuild> builds, const std::vector<RunRecord>& unfinished,
                                std::int64_t budget) {
  std::vector<std::int64_t> ids;
  for (const auto& [one, why] : environments_to_free(std::move(builds), unfinished, day(100), {.bytes = budget, .age = 60 * kDay})) {
    CHECK_FALSE(why.empty());
    ids.push_back(one.id);
  }
  return ids;
}

RunRecord run_of(unsigned char environment, std::optional<Hash> lock = std::nullopt) {
  RunRecord run;
  run.environment.digest = hash_of(environment);
  run.environment.lock_digest = lock;
  return run;
}

}  // namespace

TEST_CASE("an environment goes when it was not used for its age, whatever room there is") {
  CHECK(freed({build(1, 1, 30, 5), build(2, 2, 41, 5)}, {}, 1000) == std::vector<std::int64_t>{1});
}

TEST_CASE("beyond the budget the longest unused goes first, and no more than needed") {
  CHECK(freed({build(1, 1, 90, 5), build(2, 2, 70, 5), build(3, 3, 80, 5)}, {}, 10) == std::vector<std::int64_t>{2});
  CHECK(freed({build(1, 1, 90, 5), build(2, 2, 70, 5), build(3, 3, 80, 5)}, {}, 9) == std::vector<std::int64_t>{2, 3});
}

TEST_CASE("what an unfinished run needs never goes") {
  const auto old = build(1, 1, 1, 500);
  CHECK(freed({old}, {run_of(1)}, 0).empty());
  CHECK(freed({old}, {run_of(1, old.lock)}, 0).empty());
  CHECK(freed({old}, {run_of(1, hash_of(7))}, 0) == std::vector<std::int64_t>{1});
  CHECK(freed({old}, {run_of(2)}, 0) == std::vector<std::int64_t>{1});
}
