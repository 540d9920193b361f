// Parameters, metrics, kinds, times, text, pages; and that no condition reads a table from end to end.
#include <random>

#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/history.hpp"
#include "store/history_conditions.hpp"
#include "store/parameters.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

using Ids = std::vector<std::string>;

Ids ids(const std::vector<RunRecord>& runs) {
  Ids found;
  for (const RunRecord& run : runs) found.push_back(run.id.substr(run.id.size() - 1));
  return found;
}

// a…e: parameters, metrics, names.
struct Store {
  TemporaryDirectory directory;
  std::filesystem::path file = directory / "runner.db";
  History history{file};

  Store() {
    add('a', {"--lr", "0.1", "--seed", "9007199254740993"},
        {point("loss", 0.5), point("loss", 0.2), point("loss", 0.3)});
    add('b', {"--lr=0.10", "--opt", "adam"}, {point("loss", 1.0), point("note", "done")});
    add('c', {"--lr", "auto", "--opt", "sgd"}, {point("loss", "diverged"), row("table", {"x"}, R"({"x":1})")});
    add('d', {"--lr", "-1", "--seed", "9007199254740992"},
        {point("loss", std::nan("")), point("loss.min", std::int64_t{7})});
    add('e', {}, {});
  }
  void add(char letter, std::vector<std::string> arguments, const std::vector<MetricRecord>& metrics) {
    RunRecord run = sample_run(std::string("train_1_0000000") + letter);
    run.name = std::string("name of ") + letter;
    run.created = at(100 * (letter - 'a'));
    run.definition.arguments = std::move(arguments);
    history.add_run(run);
    history.add_metrics(run.id, metrics, 1);
  }
  Ids with_parameter(const std::string& text) {
    RunFilter filter;
    filter.parameters = {parameter_filter(text)};
    return ids(history.list(filter));
  }
  Ids with_metric(const std::string& text) {
    RunFilter filter;
    filter.metrics = {metric_filter(text)};
    return ids(history.list(filter));
  }
  Ids with_text(const std::string& text) {
    RunFilter filter;
    filter.text = text;
    return ids(history.list(filter));
  }
};

// The plan of a list that each condition drives in turn, one step a line.
std::vector<std::string> plans_of(const std::filesystem::path& file, const RunFilter& filter) {
  Connection connection(file, Connection::Mode::kReadOnly);
  std::vector<std::string> steps;
  auto conditions = conditions_of(connection, filter);
  REQUIRE(conditions);
  for (std::size_t i = 0; i < std::max<std::size_t>(conditions->size(), 1); ++i) {
    if (!conditions->empty()) std::swap(conditions->front(), (*conditions)[i]);
    const Statement statement = statement_of(*conditions, filter.before, 10);
    Query query = query_of(connection, {.sql = "EXPLAIN QUERY PLAN " + statement.sql, .values = statement.values});
    const bool sorted = conditions->empty() || conditions->front().sorted;
    while (query.next()) {
      steps.push_back(query.string(3));
      INFO(statement.sql);
      if (sorted) CHECK(steps.back().find("TEMP B-TREE FOR ORDER BY") == std::string::npos);
    }
  }
  return steps;
}

bool reads_a_table_from_end_to_end(const std::string& step) {
  if (!step.starts_with("SCAN")) return false;
  const auto index = step.find("VIRTUAL TABLE INDEX ");
  const bool matches = index != std::string::npos && step.find('M', index + 20) != std::string::npos;
  return !matches && step != "SCAN tree";  // the descendants found so far
}

}  // namespace

TEST_CASE("Runs are found by their parameters, numbers as numbers and text as text") {
  Store store;
  CHECK(store.with_parameter("lr") == Ids{"d", "c", "b", "a"});
  CHECK(store.with_parameter("lr=0.1") == Ids{"b", "a"});
  CHECK(store.with_parameter("lr=1e-1") == Ids{"b", "a"});
  CHECK(store.with_parameter("lr!=0.1") == Ids{"d", "c"});
  CHECK(store.with_parameter("lr<0.1") == Ids{"d"});
  CHECK(store.with_parameter("lr<=0.1") == Ids{"d", "b", "a"});
  CHECK(store.with_parameter("lr>-1") == Ids{"b", "a"});
  CHECK(store.with_parameter("lr>=-1") == Ids{"d", "b", "a"});
  CHECK(store.with_parameter("lr=auto") == Ids{"c"});
  CHECK(store.with_parameter("opt>=b") == Ids{"c"});
  CHECK(store.with_parameter("opt!=sgd") == Ids{"b"});
  CHECK(store.with_parameter("seed=9007199254740993") == Ids{"a"});  // not rounded to a double
  CHECK(store.with_parameter("none").empty());
}

TEST_CASE("Runs are found by the last, least and greatest value of a metric") {
  Store store;
  CHECK(store.with_metric("loss") == Ids{"d", "c", "b", "a"});
  CHECK(store.with_metric("table") == Ids{"c"});
  CHECK(store.with_metric("loss<0.5") == Ids{"a"});
  CHECK(store.with_metric("loss.last>=0.3") == Ids{"b", "a"});  // and not the text, which SQLite sorts behind numbers
  CHECK(store.with_metric("loss>0.3") == Ids{"b"});
  CHECK(store.with_metric("loss=0.3") == Ids{"a"});
  CHECK(store.with_metric("loss!=0.3") == Ids{"d", "c", "b"});
  CHECK(store.with_metric("loss=diverged") == Ids{"c"});
  CHECK(store.with_metric("loss<e") == Ids{"c"});
  CHECK(store.with_metric("loss>d") == Ids{"c"});
  CHECK(store.with_metric("loss.min<=0.2") == Ids{"a"});
  CHECK(store.with_metric("loss.max>0.4") == Ids{"b", "a"});
  CHECK(store.with_metric("loss.max") == Ids{"b", "a"});
  CHECK(store.with_metric("loss.min.last=7") == Ids{"d"});
  CHECK(store.with_metric("note=done") == Ids{"b"});
  CHECK(error_of([&] { store.with_metric("loss.min<x"); }).code() == ErrorCode::kInvalid);
}

TEST_CASE("Runs are found by three letters or more of their text") {
  Store store;
  CHECK(store.with_text("NAME OF b") == Ids{"b"});
  CHECK(store.with_text("train.py").size() == 5);
  CHECK(store.with_text("0000000c") == Ids{"c"});
  CHECK(store.with_text("a\" OR \"b").empty());
  CHECK(store.with_text("*^:(").empty());
  CHECK(store.with_text("äöü").empty());
  for (const char* wrong : {"", "ab", "äö"})
    CHECK(error_of([&] { store.with_text(wrong); }).code() == ErrorCode::kInvalid);
  CHECK(error_of([&] { store.with_text(std::string("a\0b", 3)); }).code() == ErrorCode::kInvalid);
}

TEST_CASE("Times have two ends, kinds are told apart, and conditions are ANDed") {
  Store store;
  RunFilter filter;
  filter.since = at(100);
  filter.until = at(300);
  CHECK(ids(store.history.list(filter)) == Ids{"d", "c", "b"});
  filter.since.reset();
  CHECK(ids(store.history.list(filter)) == Ids{"d", "c", "b", "a"});
  filter.parameters = {parameter_filter("lr<=0.1"), parameter_filter("seed")};
  filter.metrics = {metric_filter("loss.min<1")};
  filter.text = "train";
  filter.kind = RunKind::kScript;
  CHECK(ids(store.history.list(filter)) == Ids{"a"});
  filter.kind = RunKind::kChild;
  CHECK(store.history.list(filter).empty());
}

TEST_CASE("Pages follow each other without a gap while runs come and go") {
  Store store;
  RunFilter filter;
  filter.limit = 2;
  Ids seen;
  for (int pages = 0; pages < 10; ++pages) {
    const RunPage page = store.history.page(filter);
    for (const std::string& id : ids(page.runs)) seen.push_back(id);
    store.add(static_cast<char>('p' + pages), {}, {});
    if (!page.next) break;
    filter.before = page.next;
  }
  CHECK(seen == Ids{"e", "d", "c", "b", "a"});
  filter = {};
  filter.limit = 0;
  CHECK_FALSE(store.history.page(filter).next);
  filter.limit = 5;
  filter.parameters = {parameter_filter("lr")};
  CHECK_FALSE(store.history.page(filter).next);  // four, and no fifth
  filter.limit = 4;
  CHECK_FALSE(store.history.page(filter).next);
  filter.limit = 3;
  const RunPage first = store.history.page(filter);
  CHECK(ids(first.runs) == Ids{"d", "c", "b"});
  filter.before = first.next;
  CHECK(ids(store.history.page(filter).runs) == Ids{"a"});
}

TEST_CASE("No condition, alone or with others, reads a table from end to end") {
  Store store;
  store.history.add_children("train_1_0000000a", std::vector<NewChild>{{.id = "k", .name = "k"}}, at(1));
  std::vector<RunFilter> filters(1);
  const auto add = [&](auto&& set) { set(filters.emplace_back()); };
  add([](RunFilter& f) { f.include_children = true; });
  add([](RunFilter& f) { f.experiment = "train"; });
  add([](RunFilter& f) { f.status = RunStatus::kQueued; });
  add([](RunFilter& f) { f.kind = RunKind::kChild; });
  add([](RunFilter& f) { f.tags = {{"a", std::nullopt}, {"b", "c"}}; });
  add([](RunFilter& f) { f.properties = {{"a", std::nullopt}, {"b", "c"}}; });
  for (const char* text : {"lr", "lr=1", "lr!=1", "lr<1", "lr<=1", "lr>1", "lr>=1", "lr=x", "lr!=x", "lr<x", "lr>x"}) {
    add([&](RunFilter& f) { f.parameters = {parameter_filter(text)}; });
    add([&](RunFilter& f) { f.metrics = {metric_filter(text)}; });
  }
  for (const char* text : {"m.min<1", "m.max>=1", "m.min", "m.max=1", "m.max!=1"})
    add([&](RunFilter& f) { f.metrics = {metric_filter(text)}; });
  add([](RunFilter& f) { f.text = "train"; });
  add([](RunFilter& f) { f.parent = "train_1_0000000a"; });
  add([](RunFilter& f) {
    f.parent = "train_1_0000000a";
    f.recursive = true;
  });
  add([](RunFilter& f) { f.since = at(1); });
  add([](RunFilter& f) { f.until = at(1); });
  add([](RunFilter& f) {
    f.since = at(1);
    f.until = at(9);
  });
  add([](RunFilter& f) {
    f.experiment = "train";
    f.status = RunStatus::kQueued;
    f.kind = RunKind::kScript;
    f.tags = {{"a", "b"}};
    f.properties = {{"a", "b"}};
    f.parameters = {parameter_filter("lr<1")};
    f.metrics = {metric_filter("m.min<1")};
    f.text = "train";
    f.parent = "train_1_0000000a";
    f.recursive = true;
    f.since = at(1);
  });
  for (RunFilter& filter : filters)
    for (const bool paged : {false, true}) {
      if (paged) filter.before = 7;
      for (const std::string& step : plans_of(store.file, filter)) {
        // A list of everything is read from its end, and stops at its limit.
        const bool everything = step == "SCAN run" && filter.include_children && !filter.parent;
        INFO(step);
        CHECK((everything || !reads_a_table_from_end_to_end(step)));
      }
    }
}

TEST_CASE("Random conditions on parameters and metrics give what looking at every run gives") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  std::mt19937 random(11);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  struct Known {
    std::string id;
    std::optional<int> parameter, last, least;
    int parent;
  };
  std::vector<Known> all;
  for (int i = 0; i < 150; ++i) {
    Known run{.id = "r_1_" + std::to_string(10'000'000 + i), .parameter = {}, .last = {}, .least = {}, .parent = -1};
    RunRecord record = sample_run(run.id);
    if (below(3) != 0) {
      run.parameter = below(6);
      record.definition.arguments = {"--p", std::to_string(*run.parameter)};
    }
    if (i > 0 && below(3) == 0) {
      run.parent = below(static_cast<unsigned>(i));
      record.parent = all[static_cast<std::size_t>(run.parent)].id;
    }
    history.add_run(record);
    std::vector<MetricRecord> metrics;
    for (int count = below(4); count > 0; --count) {
      run.last = below(6);
      run.least = std::min(run.least.value_or(9), *run.last);
      metrics.push_back(point("m", std::int64_t{*run.last}));
    }
    history.add_metrics(run.id, metrics, 1);
    all.push_back(run);
  }
  const std::pair<const char*, bool (*)(int, int)> operators[] = {
      {"=", [](int a, int b) { return a == b; }}, {"!=", [](int a, int b) { return a != b; }},
      {"<", [](int a, int b) { return a < b; }},  {"<=", [](int a, int b) { return a <= b; }},
      {">", [](int a, int b) { return a > b; }},  {">=", [](int a, int b) { return a >= b; }}};
  for (int i = 0; i < 300; ++i) {
    RunFilter filter;
    filter.include_children = true;
    std::vector<std::function<bool(const Known&)>> tests;
    const auto compared = [&](const std::string& name, auto member, auto& filters, auto parse) {
      const auto& [text, test] = operators[below(6)];
      const int value = below(6);
      filters.push_back(parse(name + text + std::to_string(value)));
      tests.push_back(
          [=, test = test](const Known& run) { return (run.*member).has_value() && test(*(run.*member), value); });
    };
    if (below(2) == 0) compared("p", &Known::parameter, filter.parameters, parameter_filter);
    if (below(2) == 0) compared("m", &Known::last, filter.metrics, metric_filter);
    if (below(2) == 0) compared("m.min", &Known::least, filter.metrics, metric_filter);
    if (below(4) == 0) {
      const int top = below(20);
      filter.parent = all[static_cast<std::size_t>(top)].id;
      filter.recursive = below(2) == 0;
      tests.push_back([&, top, recursive = filter.recursive](const Known& run) {
        int at = run.parent;
        while (recursive && at > top) at = all[static_cast<std::size_t>(at)].parent;
        return at == top;
      });
    }
    if (below(2) == 0) filter.limit = below(10);
    std::vector<std::string> expected, found;
    for (auto run = all.rbegin(); run != all.rend(); ++run)
      if (std::all_of(tests.begin(), tests.end(), [&](const auto& test) { return test(*run); }) &&
          (!filter.limit || static_cast<std::int64_t>(expected.size()) < *filter.limit))
        expected.push_back(run->id);
    for (const RunRecord& run : history.list(filter)) found.push_back(run.id);
    INFO("filter " << i);
    CHECK(found == expected);
  }
}
