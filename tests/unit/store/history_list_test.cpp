#include <random>

#include "fixture.hpp"
#include "store/history.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

std::vector<std::string> ids(const std::vector<RunRecord>& runs) {
  std::vector<std::string> found;
  for (const RunRecord& run : runs) found.push_back(run.id.substr(run.id.size() - 1));
  return found;
}
using Ids = std::vector<std::string>;

// a…f: experiments, tags, properties, times; c and d are children of b.
void fill(History& history) {
  const auto add = [&](char letter, const char* experiment, std::int64_t created, auto&& change) {
    RunRecord run = sample_run(std::string(experiment) + "_1_0000000" + letter, experiment);
    run.created = at(created);
    change(run);
    history.add_run(run);
  };
  add('a', "one", 100, [](RunRecord& run) { run.tags["color"] = "red"; });
  add('b', "one", 200, [](RunRecord& run) {
    run.tags["color"] = "blue";
    run.properties["p"] = "1";
  });
  add('c', "one", 300, [](RunRecord& run) { run.parent = "one_1_0000000b"; });
  add('d', "two", 400, [](RunRecord& run) {
    run.parent = "one_1_0000000b";
    run.tags["color"] = "red";
  });
  add('e', "two", 50, [](RunRecord& run) {  // the wall clock stepped back
    run.tags["color"] = std::nullopt;
    run.properties["p"] = "1";
  });
  add('f', "two", 600, [](RunRecord& run) {
    run.tags["color"] = "red";
    run.properties["p"] = "2";
  });
}

}  // namespace

TEST_CASE("Lists are newest first by submission and leave children out unless asked") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  CHECK(history.list({}).empty());
  fill(history);
  RunFilter filter;
  CHECK(ids(history.list(filter)) == Ids{"f", "e", "b", "a"});
  filter.limit = 2;
  CHECK(ids(history.list(filter)) == Ids{"f", "e"});
  filter.limit = 0;
  CHECK(history.list(filter).empty());
  filter = {};
  filter.include_children = true;
  CHECK(ids(history.list(filter)) == Ids{"f", "e", "d", "c", "b", "a"});
  filter = {};
  filter.parent = "one_1_0000000b";
  CHECK(ids(history.list(filter)) == Ids{"d", "c"});
  filter.parent = "none";
  CHECK(error_of([&] { history.list(filter); }).code() == ErrorCode::kNotFound);
  CHECK(history.experiments() == Ids{"one", "two"});
}

TEST_CASE("Every filter selects, and several are ANDed") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  fill(history);
  history.set_status("two_1_0000000f", RunStatus::kRunning, "");
  RunFilter filter;
  filter.include_children = true;

  SECTION("experiment") {
    filter.experiment = "two";
    CHECK(ids(history.list(filter)) == Ids{"f", "e", "d"});
    filter.include_children = false;
    CHECK(ids(history.list(filter)) == Ids{"f", "e"});
    filter.experiment = "none";
    CHECK(history.list(filter).empty());
  }
  SECTION("status") {
    filter.status = RunStatus::kRunning;
    CHECK(ids(history.list(filter)) == Ids{"f"});
    filter.status = RunStatus::kFailed;
    CHECK(history.list(filter).empty());
  }
  SECTION("tag with a value") {
    filter.tags = {{"color", "red"}};
    CHECK(ids(history.list(filter)) == Ids{"f", "d", "a"});
    filter.limit = 2;
    CHECK(ids(history.list(filter)) == Ids{"f", "d"});
  }
  SECTION("tag of any value, and none") {
    filter.tags = {{"color", std::nullopt}};
    CHECK(ids(history.list(filter)) == Ids{"f", "e", "d", "b", "a"});
    filter.limit = 3;
    CHECK(ids(history.list(filter)) == Ids{"f", "e", "d"});
    filter.tags = {{"size", std::nullopt}};
    CHECK(history.list(filter).empty());
  }
  SECTION("property") {
    filter.properties = {{"p", "1"}};
    CHECK(ids(history.list(filter)) == Ids{"e", "b"});
  }
  SECTION("since") {
    filter.since = at(300);
    CHECK(ids(history.list(filter)) == Ids{"f", "d", "c"});
  }
  SECTION("all together") {
    filter.experiment = "two";
    filter.status = RunStatus::kQueued;
    filter.tags = {{"color", std::nullopt}};
    filter.properties = {{"p", std::nullopt}};
    filter.since = at(50);
    CHECK(ids(history.list(filter)) == Ids{"e"});
    filter.since = at(51);
    CHECK(history.list(filter).empty());
  }
  SECTION("parent and tag") {
    filter.parent = "one_1_0000000b";
    filter.tags = {{"color", "red"}};
    CHECK(ids(history.list(filter)) == Ids{"d"});
  }
}

TEST_CASE("Random filters give what checking every run one by one gives") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  std::mt19937 random(7);
  const auto below = [&](unsigned n) { return random() % n; };
  std::vector<RunRecord> runs;  // newest first
  for (int i = 0; i < 120; ++i) {
    RunRecord run = sample_run("r_1_" + std::to_string(10'000'000 + i), "e" + std::to_string(below(3)));
    run.created = at(below(50));
    if (below(3) == 0) run.status = RunStatus::kRunning;
    if (below(4) == 0 && !runs.empty()) run.parent = runs[below(static_cast<unsigned>(runs.size()))].id;
    for (const char* key : {"a", "b"})
      if (below(2) == 0) run.tags[key] = below(3) == 0 ? std::nullopt : std::optional(std::to_string(below(2)));
    if (below(2) == 0) run.properties["p"] = std::to_string(below(3));
    history.add_run(run);
    runs.insert(runs.begin(), run);
  }
  for (int i = 0; i < 400; ++i) {
    RunFilter filter;
    if (below(3) == 0) filter.experiment = "e" + std::to_string(below(3));
    if (below(3) == 0) filter.status = below(2) == 0 ? RunStatus::kRunning : RunStatus::kQueued;
    for (const char* key : {"a", "b"})
      if (below(3) == 0)
        filter.tags.emplace_back(key, below(2) == 0 ? std::nullopt : std::optional(std::to_string(below(2))));
    if (below(3) == 0) filter.properties.emplace_back("p", std::to_string(below(3)));
    if (below(4) == 0) filter.parent = runs[below(120)].id;
    filter.include_children = below(2) == 0;
    if (below(3) == 0) filter.since = at(below(50));
    if (below(2) == 0) filter.limit = below(10);

    std::vector<std::string> expected;
    for (const RunRecord& run : runs) {
      bool in = (!filter.experiment || run.experiment == *filter.experiment) &&
                (!filter.status || run.status == *filter.status) && (!filter.since || run.created >= *filter.since);
      in = in && (filter.parent ? run.parent == filter.parent : filter.include_children || !run.parent);
      for (const auto& [key, value] : filter.tags) {
        const auto tag = run.tags.find(key);
        in = in && tag != run.tags.end() && (!value || tag->second == value);
      }
      for (const auto& [key, value] : filter.properties) {
        const auto property = run.properties.find(key);
        in = in && property != run.properties.end() && (!value || property->second == *value);
      }
      if (in && (!filter.limit || static_cast<std::int64_t>(expected.size()) < *filter.limit))
        expected.push_back(run.id);
    }
    std::vector<std::string> found;
    for (const RunRecord& run : history.list(filter)) found.push_back(run.id);
    INFO("filter " << i);
    CHECK(found == expected);
  }
}

TEST_CASE("Unfinished runs are those without an end, oldest first") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  fill(history);
  history.finish("one_1_0000000a", RunStatus::kCompleted, "", {}, {}, at(1), {});
  history.finish("two_1_0000000e", RunStatus::kCanceled, "", {}, {}, at(1), {});
  history.request_cancel("one_1_0000000c", {});
  CHECK(ids(history.unfinished()) == Ids{"b", "c", "d", "f"});
}

TEST_CASE("A run is named by its id, a prefix, its tail or its place from the end") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  for (const char* id :
       {"cat_1700000001_aaaaaaaa", "cat_1700000002_bbbbbbbb", "cat_1700000002_bbbbbbbb2", "dog_1700000003_cccccccc"})
    history.add_run(sample_run(id));
  RunRecord child = sample_run("dog_1700000004_dddddddd");
  child.parent = "dog_1700000003_cccccccc";
  history.add_run(child);

  CHECK(history.resolve("cat_1700000001_aaaaaaaa") == "cat_1700000001_aaaaaaaa");
  CHECK(history.resolve("cat_1700000002_bbbbbbbb") == "cat_1700000002_bbbbbbbb");  // whole, though a prefix of another
  CHECK(history.resolve("cat_1700000001") == "cat_1700000001_aaaaaaaa");
  CHECK(history.resolve("cccccccc") == "dog_1700000003_cccccccc");
  CHECK(history.resolve("@last") == "dog_1700000003_cccccccc");  // top-level
  CHECK(history.resolve("@last-0") == "dog_1700000003_cccccccc");
  CHECK(history.resolve("@last-3") == "cat_1700000001_aaaaaaaa");

  for (const char* name :
       {"@last-4", "@last-", "@last-x", "@last-1x", "@lastly", "@last--1", "bird", "ccccccc", "_", "\xff"})
    CHECK(error_of([&] { history.resolve(name); }).code() == ErrorCode::kNotFound);
  CHECK(error_of([&] { history.resolve(""); }).code() == ErrorCode::kInvalid);

  const Error ambiguous = error_of([&] { history.resolve("cat_170000000"); });
  CHECK(ambiguous.code() == ErrorCode::kInvalid);
  CHECK(ambiguous.message().find("cat_1700000001_aaaaaaaa, cat_1700000002_bbbbbbbb") != std::string::npos);
}

TEST_CASE("A name that matches very many runs lists ten of them") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  for (int i = 0; i < 12; ++i) history.add_run(sample_run("x_1_" + std::to_string(10'000'000 + i)));
  const std::string message = error_of([&] { history.resolve("x_"); }).message();
  CHECK(message.find("10000009") != std::string::npos);
  CHECK(message.find("10000010") == std::string::npos);
  CHECK(message.find("…") != std::string::npos);
}

TEST_CASE("A page of runs that say much of themselves ends early, and leads on to the others") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  constexpr std::size_t kRuns = 5;
  for (std::size_t i = 0; i < kRuns; ++i) {
    RunRecord run = sample_run("train_1_0000000" + std::to_string(i));
    run.properties["p"] = std::string(std::size_t{7} << 20, 'x');
    history.add_run(run);
  }
  RunFilter filter;
  CHECK(history.list(filter).size() == kRuns);  // no page was asked for
  filter.limit = 10;
  RunPage page = history.page(filter);
  CHECK(ids(page.runs) == Ids{"4", "3", "2"});
  REQUIRE(page.next);
  filter.before = page.next;
  page = history.page(filter);
  CHECK(ids(page.runs) == Ids{"1", "0"});
  CHECK_FALSE(page.next);
}
