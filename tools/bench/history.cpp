// bench_history DIRECTORY GOLDEN RUNS: what the history costs, without daemon and Python. GOLDEN is a runner.db of
// schema version 4 (tests/data/history/runner-4.db); a copy of it is filled with RUNS runs of ten parameters, three
// tags and two metrics each, migrated, and asked. Prints one line of JSON a measurement: {"what", "value", "unit"}; of
// a question the median.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "runner/collect/metric_journal.hpp"
#include "store/history.hpp"
#include "store/sqlite_handle.hpp"

namespace {

using namespace runner;

// Both, for a machine that has other things to do: the processor's time is what it would take on an idle one.
struct Took {
  double seconds = 0;
  double cpu = 0;
  Took& operator+=(const Took& more) {
    seconds += more.seconds;
    cpu += more.cpu;
    return *this;
  }
};

double cpu_now() {
  struct ::timespec now {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Call>
Took took(Call&& call) {
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = cpu_now();
  call();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), cpu_now() - cpu};
}

void say(const std::string& what, double value, double by_cpu, const char* unit) {
  std::printf("{\"what\": \"%s\", \"value\": %.6g, \"byCpuTime\": %.6g, \"unit\": \"%s\"}\n", what.c_str(), value,
              by_cpu, unit);
  std::fflush(stdout);
}

void say_ms(const std::string& what, const Took& took) { say(what, 1000 * took.seconds, 1000 * took.cpu, "ms"); }

template <class Call>
Took median(Call&& call) {
  constexpr std::size_t kTimes = 21;
  std::vector<double> seconds, cpu;
  for (std::size_t i = 0; i < kTimes; ++i) {
    const Took one = took(call);
    seconds.push_back(one.seconds);
    cpu.push_back(one.cpu);
  }
  for (auto* all : {&seconds, &cpu}) std::nth_element(all->begin(), all->begin() + kTimes / 2, all->end());
  return {seconds[kTimes / 2], cpu[kTimes / 2]};
}

void ingest(const std::filesystem::path& directory) {
  constexpr std::int64_t kPoints = 1'000'000;
  std::string journal;
  for (std::int64_t i = 0; i < kPoints; ++i)
    journal += "\x1e{\"metric\": \"loss\", \"value\": " + std::to_string(1.0 / static_cast<double>(i + 1)) +
               ", \"step\": " + std::to_string(i) + ", \"time\": 17000000000" + std::to_string(10'000 + i % 90'000) +
               "0}\n";
  store::History history(directory / "ingest.db");
  RunRecord run;
  run.id = "bench_1700000000_00000001";
  run.experiment = "bench";
  run.environment.kind = "none";
  history.add_run(run);
  Took parsing, storing;
  const std::string_view all(journal);
  for (std::size_t at = 0; at < all.size();) {
    collect::JournalPart part;
    parsing += took([&] {
      part =
          collect::parse_journal(all.substr(at, 1 << 20), static_cast<std::int64_t>(at), at + (1 << 20) >= all.size());
    });
    storing += took([&] { history.add_metrics(run.id, part.records, part.next_offset); });
    at = static_cast<std::size_t>(part.next_offset);
  }
  const auto say_rate = [](const char* what, const Took& took) {
    say(what, static_cast<double>(kPoints) / took.seconds, static_cast<double>(kPoints) / took.cpu, "points/s");
  };
  say_rate("ingest: parse", parsing);
  say_rate("ingest: store", storing);
  parsing += storing;
  say_rate("ingest: both", parsing);
  say_ms("1 000 of 1 000 000 points", median([&] { history.metric_points(run.id, "loss", 1000); }));
  say_ms("all of 1 000 000 points", took([&] { history.metric_points(run.id, "loss"); }));
}

void fill(const std::filesystem::path& file, const std::string& runs) {
  store::Connection connection(file, store::Connection::Mode::kReadWrite);
  const std::string numbers =
      "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 99 + " + runs + ") ";
  connection.execute(
      "BEGIN;" + numbers +
      "INSERT INTO run(seq, id, experiment, name, status, status_reason, created, started, ended, attempt, priority,"
      " environment, outcome) SELECT i, printf('bench_1700000000_%08x', i), 1, printf('run %d', i),"
      " iif(i % 10 = 0, 'Failed', 'Completed'), '', 1700000000000000 + i, 1700000000000000 + i, 1700000001000000 + i, "
      "1, 0,"
      " '{\"kind\":\"interpreter\",\"digest\":\"\"}',"
      " printf('{\"kind\":\"exited\",\"exitCode\":%d,\"message\":\"\"}', i % 10 = 0) FROM n;" +
      numbers +
      "INSERT INTO submission(run, digest, definition) SELECT i, zeroblob(32),"
      " printf('{\"script\":\"train.py\",\"arguments\":[\"--lr\",\"%g\",\"--epochs\",\"%d\",\"--batch\",\"%d\",\"--"
      "seed\",\"%d\","
      "\"--opt\",\"%s\",\"--dropout\",\"0.%d\",\"--width\",\"%d\",\"--depth\",\"%d\",\"--augment\",\"--data=set%d\"],"
      "\"sourceDirectory\":\"/home/somebody/project\",\"isolation\":\"sandbox\",\"graceMs\":10000,\"network\":true}',"
      " 1.0 / (1 + i % 1000), i % 7, 1 << (i % 6), i, iif(i % 3 = 0, 'adam', 'sgd'), i % 9, i % 512, i % 12, i % 5) "
      "FROM n;" +
      numbers + "INSERT INTO tag(run, key, value) SELECT i, 'model', printf('m%d', i % 20) FROM n;" + numbers +
      "INSERT INTO tag(run, key, value) SELECT i, 'quality', iif(i % 100 = 0, 'fantastic run', 'so so') FROM n;" +
      numbers + "INSERT INTO tag(run, key, value) SELECT i, 'bare', NULL FROM n;" + numbers +
      "INSERT INTO property(run, key, value) SELECT i, 'azureml.git.commit', printf('%040x', i % 300) FROM n;" +
      numbers +
      "INSERT INTO metric_series(id, run, name, count, minimum, maximum) SELECT 2 * i, i, 'loss', 1, i % 997 / 997.0, "
      "i % 997 / 997.0"
      " FROM n;" +
      numbers +
      "INSERT INTO metric_series(id, run, name, count, minimum, maximum) SELECT 2 * i + 1, i, 'accuracy', 1, i % 991 / "
      "991.0,"
      " i % 991 / 991.0 FROM n;" +
      numbers + "INSERT INTO metric_point(series, number, time, value) SELECT 2 * i, 0, 1, i % 997 / 997.0 FROM n;" +
      numbers +
      "INSERT INTO metric_point(series, number, time, value) SELECT 2 * i + 1, 0, 1, i % 991 / 991.0 FROM n; COMMIT");
}

void questions(const std::filesystem::path& directory, const std::filesystem::path& golden, const std::string& runs) {
  const auto file = directory / "runner.db";
  std::filesystem::copy_file(golden, file);
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  fill(file, runs);
  std::optional<store::History> opened;
  say_ms("migration", took([&] { opened.emplace(file); }));
  const store::History& history = *opened;
  const auto ask = [&](const char* what, const store::RunFilter& filter) {
    std::size_t found = 0;
    const Took time = median([&] { found = history.list(filter).size(); });
    say_ms(std::string(what) + " (" + std::to_string(found) + " found)", time);
  };
  store::RunFilter ten;
  ten.limit = 10;
  ask("list of 10", ten);
  const auto three = [&](const char* what, const char* parameter, std::pair<std::string, std::string> tag,
                         const char* metric) {
    store::RunFilter filter = ten;
    filter.parameters = {store::parameter_filter(parameter)};
    filter.tags.emplace_back(tag.first, tag.second);
    filter.metrics = {store::metric_filter(metric)};
    ask(what, filter);
  };
  three("three conditions, many runs", "lr<=0.01", {"model", "m3"}, "accuracy>=0.5");
  three("three conditions, one rare", "opt=adam", {"quality", "fantastic run"}, "loss.min<0.1");
  three("three conditions, no run", "opt=adam", {"model", "m3"}, "accuracy.max>1");
  three("three frequent conditions that exclude each other", "augment=true", {"quality", "so so"}, "accuracy<0");
  store::RunFilter disjoint = ten;  // every second run each, and never the same
  disjoint.parameters = {store::parameter_filter("batch=2"), store::parameter_filter("batch!=2"),
                         store::parameter_filter("opt=adam")};
  ask("three frequent conditions that never meet", disjoint);
  store::RunFilter text = ten;
  text.text = "fantastic";
  ask("text", text);
  text.text = "train.py";
  ask("text that all runs have", text);
  store::RunFilter page = ten;
  page.before = 200;
  ask("the last page", page);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::fputs("usage: bench_history DIRECTORY GOLDEN RUNS\n", stderr);
    return 2;
  }
  ingest(arguments[1]);
  questions(arguments[1], arguments[2], std::to_string(std::atoi(arguments[3])));
  return 0;
}
