// What a run is told: a script can give cause for any number of notices.
#include "fixture.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

TEST_CASE("A run is told nothing twice, and no more than some hundred things") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000002";
  history.add_run(sample_run(id));
  const std::int64_t grows = history.add_notice(id, "1 record");
  CHECK(history.add_notice(id, "other") != grows);
  CHECK(history.add_notice(id, "2 records", grows) == grows);
  CHECK(history.add_notice(id, "2 records") == grows);
  CHECK(history.notices(id) == std::vector<std::string>{"2 records", "other"});
  for (int i = 0; i < 1000; ++i) history.add_notice(id, "notice " + std::to_string(i));
  const auto notices = history.notices(id);
  REQUIRE(notices.size() == 201);
  CHECK(notices[199] == "notice 197");
  CHECK(notices[200] == "there were more than 200 notices; the others are left out");
  CHECK(history.add_notice(id, "3 records", grows) == grows);
  CHECK(history.notices(id)[0] == "3 records");
}
