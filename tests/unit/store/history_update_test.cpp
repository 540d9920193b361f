// What may change of a run, that it may go, and what the ledger says of both.
#include "fixture.hpp"
#include "metric_records.hpp"
#include "runner/core/run_bounds.hpp"
#include "store/history.hpp"
#include "store/history_check.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

const std::string kId = "train_1_00000001";
using Texts = std::vector<std::string>;

struct Store {
  TemporaryDirectory directory;
  std::filesystem::path file = directory / "runner.db";
  History history{file};

  void finish(const std::string& id) {
    history.finish(id, RunStatus::kCompleted, "", Outcome{.kind = OutcomeKind::kExited, .exit_code = 0}, {}, at(9),
                   std::vector<Artifact>{{"outputs/a", 1, hash_of_byte(1)}});
  }
  Texts problems() {
    Texts all;
    for (const RowProblem& problem : history.check_rows([] {})->problems()) all.push_back(problem.text);
    return all;
  }
  std::string ledger() { return sql(file, "SELECT group_concat(kind || ' ' || run_id, ', ') FROM ledger"); }
  // As somebody who knows his way about would: without the triggers.
  void tamper(const std::string& statement) {
    const std::string trigger =
        sql(file, "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_master WHERE type = 'trigger'");
    REQUIRE(sql(file, trigger + ";" + statement).empty());
  }
};

}  // namespace

TEST_CASE("Name, tags and properties change in one transaction, of live and of ended runs") {
  Store store;
  RunRecord run = sample_run(kId);
  run.tags = {{"a", "1"}, {"b", "2"}, {"c", std::nullopt}};
  run.properties = {{"p", "1"}};
  store.history.add_run(run);
  const bool ended = GENERATE(false, true);
  if (ended) store.finish(kId);
  const RunRecord now = store.history.update(kId,
                                             {.name = "better",
                                              .tags = {{"b", std::nullopt}, {"d", "4"}},
                                              .remove_tags = {"a", "nothing"},
                                              .properties = {{"p", "1"}, {"q", "2"}}},
                                             at(20));
  CHECK(now.name == "better");
  CHECK(now.tags ==
        std::map<std::string, std::optional<std::string>>{{"b", std::nullopt}, {"c", std::nullopt}, {"d", "4"}});
  CHECK(now.properties == std::map<std::string, std::string>{{"p", "1"}, {"q", "2"}});
  CHECK(store.history.get(kId).tags == now.tags);
  CHECK(store.problems() == Texts{});
  CHECK(store.ledger() == (ended ? "final " + kId + ", amended " + kId : ""));
  store.history.update(kId, {.tags = {{"x", "y"}}, .properties = {{"p", "1"}}}, at(21));  // nothing of it is final
  CHECK(store.ledger() == (ended ? "final " + kId + ", amended " + kId : ""));
  CHECK(store.problems() == Texts{});
}

TEST_CASE("A property that is there with another value is refused and nothing has changed") {
  Store store;
  RunRecord run = sample_run(kId);
  run.properties = {{"p", "1"}};
  store.history.add_run(run);
  const Error error = error_of([&] {
    store.history.update(kId, {.name = "new", .tags = {{"t", "1"}}, .properties = {{"a", "1"}, {"p", "2"}}}, at(5));
  });
  CHECK(error.code() == ErrorCode::kConflict);
  CHECK(error.message().find("'p' is '1'") != std::string::npos);
  const RunRecord now = store.history.get(kId);
  CHECK(now.name == run.name);
  CHECK(now.tags.empty());
  CHECK(now.properties == run.properties);
  CHECK(error_of([&] { store.history.update("nobody", {}, at(5)); }).code() == ErrorCode::kNotFound);
}

TEST_CASE("Runs are found by what they are called now") {
  Store store;
  RunRecord run = sample_run(kId);
  run.name = "before";
  run.tags = {{"quality", "fantastic run"}};
  store.history.add_run(run);
  const auto found = [&](const std::string& text) {
    RunFilter filter;
    filter.text = text;
    return store.history.list(filter).size() == 1;
  };
  CHECK(found("efor"));
  CHECK(found("TRAIN.py"));
  CHECK(found("lity=fan"));
  CHECK(found("00000001"));
  CHECK_FALSE(found("after"));
  store.history.update(kId, {.name = "af\"ter", .tags = {{"bare", std::nullopt}}, .remove_tags = {"quality"}}, at(5));
  CHECK(found("af\"te"));
  CHECK(found("bare"));
  CHECK_FALSE(found("befor"));
  CHECK_FALSE(found("fantastic"));
  store.finish(kId);
  store.history.remove(kId, at(10));
  CHECK_FALSE(found("bare"));
}

TEST_CASE("A run goes with all below it, and a tombstone of each stays") {
  Store store;
  store.history.add_run(sample_run(kId));
  store.history.add_children(kId, std::vector<NewChild>{{.id = "c1", .name = ""}, {.id = "c2", .name = ""}}, at(1));
  store.history.add_children("c1", std::vector<NewChild>{{.id = "g1", .name = ""}}, at(1));
  store.history.add_metrics(kId, std::vector{point("m", 1.0), row("r", {"a"}, R"({"a":1})")}, 10);
  store.history.add_run(sample_run("train_1_00000002"));
  CHECK(error_of([&] { store.history.remove(kId, at(5)); }).code() == ErrorCode::kConflict);
  CHECK(error_of([&] { store.history.remove("nobody", at(5)); }).code() == ErrorCode::kNotFound);
  store.finish(kId);
  CHECK_FALSE(store.history.removed_at("g1"));
  CHECK(store.history.remove(kId, at(20)) == Texts{kId, "c1", "c2", "g1"});
  CHECK(store.history.removed_at("g1") == at(20));
  CHECK_FALSE(store.history.removed_at("nobody"));
  for (const char* table : {"run", "submission"})
    CHECK(sql(store.file, std::string("SELECT count(*) FROM ") + table) == "1");
  for (const char* table : {"metric_series", "metric_point", "metric_row", "artifact", "journal"})
    CHECK(sql(store.file, std::string("SELECT count(*) FROM ") + table) == "0");
  CHECK(store.ledger() ==
        "final " + kId + ", final c1, final c2, final g1, deleted g1, deleted c2, deleted c1, deleted " + kId);
  CHECK(store.problems() == Texts{});
  CHECK(error_of([&] { store.history.get(kId); }).code() == ErrorCode::kNotFound);
}

TEST_CASE("A run stays while one below it lives, or one waits for it") {
  Store store;
  store.history.add_run(sample_run(kId));
  RunRecord child = sample_run("train_1_00000002");
  child.parent = kId;
  store.history.add_run(child);
  store.finish(kId);
  CHECK(error_of([&] { store.history.remove(kId, at(5)); }).message().find("run " + child.id + " below it") !=
        std::string::npos);
  store.finish(child.id);
  RunRecord waits = sample_run("train_1_00000003");
  waits.definition.after = {{child.id, AfterEnd::kAny}};
  store.history.add_run(waits);
  CHECK(error_of([&] { store.history.remove(kId, at(5)); }).message().find(waits.id + " waits for it") !=
        std::string::npos);
  CHECK(store.history.get(child.id).id == child.id);
  store.finish(waits.id);
  CHECK(store.history.remove(kId, at(5)).size() == 2);
}

TEST_CASE("The ledger cannot be rewritten by anybody who opens the file") {
  Store store;
  store.history.add_run(sample_run(kId));
  store.finish(kId);
  const std::string refused = "error: the ledger is only added to";
  CHECK(sql(store.file, "UPDATE ledger SET digest = zeroblob(32)") == refused);
  CHECK(sql(store.file, "DELETE FROM ledger") == refused);
  CHECK(sql(store.file, "INSERT OR REPLACE INTO ledger SELECT * FROM ledger") == refused);
}

TEST_CASE("An edit of a final record is found, and what may change is none") {
  Store store;
  RunRecord run = sample_run(kId);
  run.tags = {{"t", "1"}};
  store.history.add_run(run);
  store.history.add_metrics(kId, std::vector{point("m", 1.0)}, 10);
  store.finish(kId);
  store.history.add_notice(kId, "a notice");
  CHECK(store.problems() == Texts{});
  CHECK(store.history.check_rows([] {})->ledger().entries == 1);
  const Hash head = store.history.check_rows([] {})->ledger().hash;
  CHECK(head != Hash{});
  const auto [statement, finding] = GENERATE(table<std::string, std::string>(
      {{"UPDATE run SET ended = ended - 1", "it was changed since"},
       {"UPDATE submission SET git = '{}'", "it was changed since"},
       {"INSERT INTO property(run, key, value) SELECT seq, 'k', 'v' FROM run", "it was changed since"},
       {"UPDATE artifact SET sha256 = zeroblob(32)", "it was changed since"},
       {"DELETE FROM artifact", "it was changed since"},
       {"DELETE FROM metric_series", "it was changed since"},
       {"UPDATE metric_series SET maximum = 2", "it was changed since"},
       {"PRAGMA foreign_keys=ON; DELETE FROM run; DELETE FROM run_text", "does not say that it was deleted"},
       {"DELETE FROM ledger", "the ledger does not say how"},
       {"UPDATE ledger SET digest = zeroblob(32)", "is not what its hash is of"},
       {"UPDATE ledger SET kind = 'deleted'", "was deleted, says the ledger"},
       {"UPDATE ledger SET number = 3", "follows entry 0"},
       {"UPDATE ledger SET previous = randomblob(32)", "names another entry as the one before it"}}));
  INFO(statement);
  store.tamper(statement);
  const Texts problems = store.problems();
  CHECK(std::any_of(problems.begin(), problems.end(), [&, text = finding](const std::string& problem) {
    return problem.find(text) != std::string::npos;
  }));
}

TEST_CASE("Each entry is chained to the one before it") {
  Store store;
  for (const char* id : {"a_1_00000001", "a_1_00000002", "a_1_00000003"}) {
    store.history.add_run(sample_run(id));
    store.finish(id);
  }
  CHECK(sql(store.file,
            "SELECT count(*) FROM ledger b JOIN ledger a ON a.number = b.number - 1 AND a.hash = b.previous") == "2");
  CHECK(sql(store.file, "SELECT previous = zeroblob(32) FROM ledger WHERE number = 1") == "1");
  store.tamper("DELETE FROM ledger WHERE number = 2");
  const Texts problems = store.problems();
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].find("entry 3 (final a_1_00000003) follows entry 1") != std::string::npos);
  CHECK(problems[1].find("run a_1_00000002: has ended, and the ledger does not say how") != std::string::npos);
}

TEST_CASE("Words that a run is no longer found by are mended") {
  Store store;
  store.history.add_run(sample_run(kId));
  store.tamper(
      "UPDATE run_text SET name = 'other' WHERE rowid = 1; INSERT INTO run_text(rowid, id) VALUES (77, 'gone')");
  CHECK(store.problems().size() == 2);
  store.history.check_rows([] {})->repair();
  CHECK(store.problems() == Texts{});
  RunFilter filter;
  filter.text = "train.py";
  CHECK(store.history.list(filter).size() == 1);
}

TEST_CASE("A run has so many tags and properties, whatever a request adds to them") {
  Store store;
  store.history.add_run(sample_run(kId));
  RunChanges all;
  for (std::size_t i = 0; i < kMaxTags; ++i) {
    all.tags["t" + std::to_string(i)] = "1";
    all.properties["p" + std::to_string(i)] = "1";
  }
  CHECK_NOTHROW(store.history.update(kId, all, at(1)));
  CHECK_NOTHROW(store.history.update(kId, all, at(2)));
  const RunChanges tag{.tags = {{"more", "1"}}};
  const RunChanges property{.properties = {{"more", "1"}}};
  const Error refused = error_of([&] { store.history.update(kId, tag, at(3)); });
  CHECK(refused.code() == ErrorCode::kInvalid);
  CHECK_THAT(refused.message(), Catch::Contains("'tags': no more than 1000"));
  CHECK_THAT(error_of([&] { store.history.update(kId, property, at(3)); }).message(), Catch::Contains("'properties'"));
  CHECK(store.history.get(kId).tags.size() == kMaxTags);
  CHECK(store.history.get(kId).properties.size() == kMaxTags);
  CHECK_NOTHROW(store.history.update(kId, {.tags = {{"more", "1"}}, .remove_tags = {"t0"}}, at(4)));
}

TEST_CASE("Of long texts the beginning is found, and nothing is amiss with the rest") {
  Store store;
  store.history.add_run(sample_run(kId));
  RunChanges changes{.name = "early" + std::string(kMaxRunName, 'n') + "behind"};
  for (int i = 10; i < 20; ++i) changes.tags["tag" + std::to_string(i)] = std::string(kMaxValue, 'v');
  store.history.update(kId, changes, at(1));
  const auto found = [&](const std::string& text) {
    RunFilter filter;
    filter.text = text;
    return !store.history.list(filter).empty();
  };
  CHECK(found("early"));
  CHECK_FALSE(found("behind"));
  CHECK(found("tag10=v"));
  CHECK_FALSE(found("tag19=v"));
  CHECK(sql(store.file, "SELECT length(name) + length(tags) <= 5000 FROM run_text") == "1");
  CHECK(store.problems() == Texts{});
}
