// What the golden history has since schema 5. The writer and what is found again stand side by side.
#include <cmath>
#include <limits>

#include "fixture.hpp"
#include "golden.hpp"
#include "metric_records.hpp"
#include "store/digest.hpp"
#include "store/environments.hpp"
#include "store/history_check.hpp"

using namespace runner;
using namespace runner::store;

namespace store_test {
namespace {

const std::string kSweep = "tracking_1700001001_00001001", kAgain = "tracking_1700001002_00001002",
                  kFailed = "tracking_1700001003_00001003", kGone = "tracking_1700001004_00001004",
                  kSubmitted = "tracking_1700001005_00001005", kWaiting = "tracking_1700001006_00001006",
                  kLive = "tracking_1700001007_00001007", kInteractive = "00000000-0000-4000-8000-0000000000a1",
                  kNotebook = "00000000-0000-4000-8000-0000000000a2";

// Of the n-th child.
std::string uuid(int n) { return "00000000-0000-4000-8000-0000000000" + std::to_string(10 + n); }

UtcTime moment(int second) { return at(1'700'001'000'000'000 + std::int64_t{second} * 1'000'000); }

// The text of an environment is what its digest is of.
const std::string kEnvironment = "kind: venv\n";
Hash environment_digest() { return Sha256().of(bytes_of(kEnvironment)); }

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kGreatest = std::numeric_limits<std::int64_t>::max();

// Everything that a submission may say.
RunDefinition full_definition() {
  RunDefinition definition;
  definition.command = {"python3", "-m", "train", "--batch=64", "--name", "sp\xc3\xa4t", "+optimizer.lr=1e-3"};
  definition.source_directory = "/home/somebody/project";
  definition.config_name = "sweep";
  definition.isolation = Isolation::kDocker;
  definition.max_run_duration = std::chrono::hours(2);
  definition.grace = std::chrono::milliseconds(1500);
  definition.cpus = 1.5;
  definition.memory_bytes = 1 << 30;
  definition.pids = 512;
  definition.shm_bytes = 1 << 20;
  definition.max_log_bytes = RunDefinition::kUnlimited;
  definition.gpus = GpuRequest{.count = 1};
  definition.best_effort_limits = true;
  definition.unenforced = {"--memory"};
  definition.requeue = true;
  definition.network = false;
  definition.mounts = {{"/data", "/data", false}, {"/scratch", "/scratch", true}};
  definition.environment_variables = {{"A", "1"}};
  definition.caller_variables = {{"LANG", "C.UTF-8"}};
  definition.image = "python:3.11";
  definition.image_interpreter = "/usr/bin/python3";
  definition.engine_socket = "/run/docker.sock";
  definition.engine.network = "bridge";
  definition.engine.labels = {{"team", "vision"}};
  definition.engine.ulimits = {{"nofile", 1024, 2048}};
  definition.engine.tmpfs = {{"/scratch2", "size=1m"}};
  definition.secrets = {"TOKEN"};
  definition.build_variables = {{"PIP_INDEX_URL", "https://example.org/simple"}};
  definition.withheld = {"PIP_EXTRA_INDEX_URL"};
  definition.machine = MachineFacts{.hostname = "machine",
                                    .system = "Debian GNU/Linux 12 (bookworm)",
                                    .kernel = "6.1.0",
                                    .architecture = "x86_64",
                                    .processor = "a processor",
                                    .cpus = 2,
                                    .memory_bytes = 1 << 30,
                                    .gpu_driver = "535.161.08"};
  return definition;
}

RunRecord tracking_run(const std::string& id, int second) {
  RunRecord run = sample_run(id, "tracking");
  run.name = "run " + id;
  run.created = moment(second);
  run.environment.kind = "interpreter";
  run.environment.interpreter = "/usr/bin/python3";
  run.environment.python_version = "3.11.2";
  return run;
}

Outcome exited(int code) {
  Outcome outcome{.kind = OutcomeKind::kExited, .exit_code = code};
  outcome.usage = {.peak_memory_bytes = 4096, .cpu_seconds = 1.5, .peak_cpus = 1.0, .read_bytes = 0};
  return outcome;
}

void write_metrics(History& history) {
  const MetricFile picture{.artifact = "plots/a \"b\".png", .type = MetricFileType::kConfusionMatrix};
  const std::string long_text(300, 'x');
  history.add_metrics(
      kSweep,
      std::vector{point("greatest", kGreatest), point("exact", 0.1 + 0.2, 7, 1'700'001'002'000'123),
                  point("na\xc3\xafve \"name\"\n", "text"), point("long text", long_text), point("picture", picture),
                  list("list", {1.5}), list("empty list", {}),
                  list("not finite", {std::nan(""), kInfinity, -kInfinity, "NaN", std::int64_t{-1}}),
                  row("row", {"z", "a"}, R"({"z":1,"a":null})"),
                  table("table", {"x", "y"}, {R"({"x":1,"y":{"float":"nan"}})", R"({"x":9223372036854775807})"}),
                  table("empty table", {"only"}, {}),
                  // Of the runs below it, in its journal.
                  of_run(uuid(1), point("score", 0.75, 1)), of_run(uuid(1), point("score", 0.5, 2)),
                  of_run(uuid(4), row("deep", {"c"}, R"({"c":"t"})"))},
      4'096);
}

void write_sweep(History& history) {
  RunRecord sweep = tracking_run(kSweep, 1);
  sweep.definition.arguments = {"--big=9223372036854775807", "--rate", "-0.5", "key=value", "--flag"};
  sweep.snapshot = hash_of_byte(0x11);
  sweep.idempotency_key = "sweep key";
  sweep.tags = {{"stage", "sweep"}, {"bare", std::nullopt}};
  sweep.properties = {{"owner", "somebody"}, {"azureml.git.dirty", "True"}};
  sweep.git = GitState{.repository_uri = {}, .branch = {}, .commit = "c0ffee", .dirty = true};
  history.add_run(sweep, std::vector<Artifact>{{"git/diff.patch", 3, hash_of_byte(0x33)}});
  history.set_status(kSweep, RunStatus::kRunning, "", moment(2));
  history.set_gpus(kSweep, {"GPU-0", "GPU-1"});
  history.add_children(
      kSweep,
      std::vector<NewChild>{{.id = uuid(1), .name = "lr", .tags = {{"lr", "0.1"}}, .properties = {{"cell", "1"}}},
                            {.id = uuid(2), .name = ""},
                            {.id = uuid(3), .name = "open"}},
      moment(3));
  history.add_children(uuid(1), std::vector<NewChild>{{.id = uuid(4), .name = "deep"}}, moment(4));
  write_metrics(history);
  history.add_artifacts(kSweep, std::vector<Artifact>{{"plots/a \"b\".png", 10, hash_of_byte(0x44)},
                                                      {"outputs/early.bin", 11, hash_of_byte(0x45)}});
  history.add_artifacts(uuid(1), std::vector<Artifact>{{"model.pkl", 12, hash_of_byte(0x46)}});
  const auto notice = history.add_notice(kSweep, "so far");
  history.add_notice(kSweep, "in its place", notice);
  history.add_notice(kSweep, "another");
  history.end(uuid(4), RunStatus::kCompleted, "", {}, moment(5));
  history.end(uuid(1), RunStatus::kCompleted, "", {}, moment(6));
  history.end(uuid(2), RunStatus::kFailed, "it diverged", RunError{.message = "diverged", .hint = "a smaller lr"},
              moment(7));
  // Its open child ends with it.
  history.finish(kSweep, RunStatus::kCompleted, "", exited(0), {}, moment(8),
                 std::vector<Artifact>{{"outputs/model.pkl", 5, hash_of_byte(0x55)},
                                       {"user_logs/std_log.txt", 0, hash_of_byte(0x56)}});
  history.update(
      kSweep,
      {.name = "renamed", .tags = {{"later", "yes"}}, .remove_tags = {"bare"}, .properties = {{"after", "the end"}}},
      moment(9));
}

// Started again: what the first attempt had handed over is the attempt's, its children are cancelled.
void write_again(History& history) {
  RunRecord again = tracking_run(kAgain, 10);
  again.definition = full_definition();
  again.environment = {.name = "vision",
                       .version = "2",
                       .kind = "image",
                       .digest = environment_digest(),
                       .lock_digest = hash_of_byte(0x72),
                       .interpreter = "",
                       .python_version = "3.11.7",
                       .image = ImageRef{"sha256:ab", "python@sha256:cd", "linux/amd64"}};
  again.queue.priority = -3;
  history.add_run(again);
  history.set_status(kAgain, RunStatus::kRunning, "", moment(11));
  history.add_children(kAgain, std::vector<NewChild>{{.id = uuid(5), .name = ""}}, moment(12));
  history.add_artifacts(kAgain, std::vector<Artifact>{{"handed.bin", 6, hash_of_byte(0x57)}});
  history.begin_next_attempt(kAgain, 1, moment(13), "gave way",
                             std::vector<Artifact>{{"attempts/1/outputs/x", 7, hash_of_byte(0x58)}});
  history.set_status(kAgain, RunStatus::kRunning, "", moment(14));
  history.request_cancel(kAgain, {.reason = "not wanted any more"});
  history.finish(kAgain, RunStatus::kCanceled, "not wanted any more", Outcome{.kind = OutcomeKind::kCanceled}, {},
                 moment(15), std::vector<Artifact>{{"outputs/x", 8, hash_of_byte(0x59)}});
}

void write_ends(History& history) {
  history.add_run(tracking_run(kFailed, 20));
  history.set_status(kFailed, RunStatus::kRunning, "", moment(21));
  history.request_cancel(kFailed, {.reason = "seen to fail", .fails = true});
  history.finish(kFailed, RunStatus::kFailed, "seen to fail", Outcome{.kind = OutcomeKind::kSignaled, .signal = 9},
                 RunError{.message = "it was made to fail"}, moment(22), {});
  // Deleted, with what is below it: the ledger keeps both.
  history.add_run(tracking_run(kGone, 23));
  history.add_children(kGone, std::vector<NewChild>{{.id = uuid(6), .name = ""}}, moment(24));
  history.finish(kGone, RunStatus::kCompleted, "", exited(0), {}, moment(25), {});
  history.remove(kGone, moment(26));
  RunRecord notebook = tracking_run(kNotebook, 27);
  notebook.kind = RunKind::kInteractive;
  notebook.status = RunStatus::kRunning;
  notebook.started = moment(27);
  history.add_run(notebook);
  history.add_metrics(kNotebook, std::vector{point("cell", std::int64_t{1})}, 64);
  history.finish(kNotebook, RunStatus::kFailed, "", Outcome{.kind = OutcomeKind::kLost, .message = "its process ended"},
                 RunError{.message = "its process ended"}, moment(28), {});
}

void write_living(History& history) {
  RunRecord interactive = tracking_run(kInteractive, 30);
  interactive.kind = RunKind::kInteractive;
  interactive.status = RunStatus::kRunning;
  interactive.started = moment(30);
  history.add_run(interactive);
  history.add_children(kInteractive, std::vector<NewChild>{{.id = uuid(7), .name = "cell"}}, moment(31));
  RunRecord submitted = tracking_run(kSubmitted, 32);
  submitted.parent = kInteractive;
  history.add_run(submitted);
  history.finish(kSubmitted, RunStatus::kFailed, "", exited(3), RunError{.message = "exit code 3"}, moment(33), {});
  RunRecord waiting = tracking_run(kWaiting, 34);
  waiting.definition.after = {{kSweep, AfterEnd::kSuccess}, {kInteractive, AfterEnd::kAny}};
  history.add_run(waiting);
  history.set_queue_place(kWaiting, {.priority = 5, .position = -1.25});
  history.add_run(tracking_run(kLive, 35));
  history.set_status(kLive, RunStatus::kRunning, "", moment(36));
  history.request_cancel(kLive, {.reason = "asked"});
  history.hold_queue(true);
}

void write_environments(History& history) {
  Environments environments(history);
  environments.add({.digest = environment_digest(),
                    .kind = "venv",
                    .specification = R"({"requirements":["numpy"]})",
                    .identity = kEnvironment,
                    .created = moment(40)});
  environments.add_lock(hash_of_byte(0x72), R"({"packages":[]})");
  environments.publish({.environment = environment_digest(),
                        .lock = hash_of_byte(0x73),
                        .directory = "0123",
                        .interpreter = "/envs/0123/bin/python",
                        .fingerprint = hash_of_byte(0x74),
                        .variables = {{"PATH", "/envs/0123/bin"}},
                        .bytes = 1000,
                        .created = moment(41),
                        .used = moment(42)},
                       R"({"packages":["numpy==1.26"]})");
  environments.add_version("vision", "{}", hash_of_byte(0x75), moment(43));
  environments.add_version("vision", R"({"image":"python:3.11"})", hash_of_byte(0x76), moment(44));
  environments.remove_version("vision", 1);
}

// -- what is found again

void check_values(const History& history) {
  const auto value = [&](const std::string& name) {
    const auto points = history.metric_points(kSweep, name);
    REQUIRE(points.size() == 1);
    return points[0].value;
  };
  CHECK(value("greatest") == MetricValue(kGreatest));
  CHECK(value("exact") == MetricValue(0.1 + 0.2));
  CHECK(history.metric_points(kSweep, "exact")[0].step == 7);
  CHECK(history.metric_points(kSweep, "exact")[0].time == at(1'700'001'002'000'123));
  CHECK(value("na\xc3\xafve \"name\"\n") == MetricValue("text"));
  CHECK(value("long text") == MetricValue(std::string(300, 'x')));
  CHECK(value("picture") ==
        MetricValue(MetricFile{.artifact = "plots/a \"b\".png", .type = MetricFileType::kConfusionMatrix}));
  CHECK(value("list") == MetricValue(1.5));
  const auto points = history.metric_points(kSweep, "not finite");
  REQUIRE(points.size() == 5);
  CHECK(std::isnan(std::get<double>(points[0].value)));
  CHECK(points[1].value == MetricValue(kInfinity));
  CHECK(points[2].value == MetricValue(-kInfinity));
  CHECK(points[3].value == MetricValue("NaN"));
  CHECK(points[4].value == MetricValue(std::int64_t{-1}));
  const auto rows = history.metric_rows(kSweep, "table");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].cells == R"({"x":1,"y":{"float":"nan"}})");
  CHECK(rows[1].cells == R"({"x":9223372036854775807})");
  CHECK(history.metric_points(uuid(1), "score").size() == 2);
  CHECK(history.metric_rows(uuid(4), "deep").size() == 1);
  CHECK(history.journal_offset(kSweep) == 4'096);
}

void check_shapes_of_metrics(const History& history) {
  std::map<std::string, MetricSummary> summaries;
  for (MetricSummary& summary : history.metric_summaries(kSweep)) summaries.emplace(summary.name, std::move(summary));
  CHECK(summaries.size() == 11);
  CHECK(summaries.at("exact").shape == MetricShape::kValue);
  CHECK(summaries.at("list").shape == MetricShape::kList);
  CHECK(summaries.at("empty list").shape == MetricShape::kList);
  CHECK(summaries.at("empty list").count == 0);
  CHECK(summaries.at("not finite").min == -1);
  CHECK(summaries.at("row").shape == MetricShape::kRow);
  CHECK(summaries.at("row").columns == std::vector<std::string>{"z", "a"});
  CHECK(summaries.at("row").last_row->cells == R"({"z":1,"a":null})");
  CHECK(summaries.at("table").shape == MetricShape::kTable);
  CHECK(summaries.at("empty table").columns == std::vector<std::string>{"only"});
}

void check_sweep(const History& history) {
  const RunRecord sweep = history.get(kSweep);
  CHECK(sweep.status == RunStatus::kCompleted);
  CHECK(sweep.name == "renamed");
  CHECK(sweep.started == moment(2));
  CHECK(sweep.ended == moment(8));
  CHECK(sweep.snapshot == hash_of_byte(0x11));
  CHECK(sweep.gpus == std::vector<std::string>{"GPU-0", "GPU-1"});
  CHECK(sweep.tags == std::map<std::string, std::optional<std::string>>{{"stage", "sweep"}, {"later", "yes"}});
  CHECK(sweep.properties ==
        std::map<std::string, std::string>{{"after", "the end"}, {"azureml.git.dirty", "True"}, {"owner", "somebody"}});
  CHECK(sweep.git->commit == "c0ffee");
  CHECK_FALSE(sweep.git->branch);
  CHECK(sweep.outcome->usage.peak_memory_bytes == 4096);
  CHECK(history.find_by_key("sweep key")->id == kSweep);
  CHECK(history.artifacts(kSweep).size() == 5);
  CHECK(history.artifact(kSweep, "plots/a \"b\".png")->sha256 == hash_of_byte(0x44));
  CHECK(history.artifact(uuid(1), "model.pkl")->bytes == 12);
  CHECK(history.notices(kSweep) == std::vector<std::string>{"in its place", "another"});
  CHECK(history.parameters(kSweep).size() == 4);
  const RunRecord child = history.get(uuid(1));
  CHECK(child.kind == RunKind::kChild);
  CHECK(child.parent == kSweep);
  CHECK(child.name == "run " + kSweep + ">lr");
  CHECK(child.tags.at("lr") == "0.1");
  CHECK(child.properties.at("cell") == "1");
  CHECK(history.get(uuid(2)).error->hint == "a smaller lr");
  CHECK(history.get(uuid(3)).status == RunStatus::kCompleted);
  CHECK(history.lineage(uuid(4)) == std::vector<std::string>{uuid(4), uuid(1), kSweep});
}

void check_definition(const History& history) {
  const RunRecord again = history.get(kAgain);
  CHECK(again.status == RunStatus::kCanceled);
  CHECK(again.attempt == 2);
  REQUIRE(again.earlier_attempts.size() == 1);
  CHECK(again.earlier_attempts[0].reason == "gave way");
  CHECK(again.earlier_attempts[0].ended == moment(13));
  CHECK(again.queue.priority == -3);
  CHECK(history.artifact(kAgain, "attempts/1/handed.bin")->bytes == 6);
  CHECK(history.artifact(kAgain, "attempts/1/outputs/x")->bytes == 7);
  CHECK(history.get(uuid(5)).status == RunStatus::kCanceled);
  CHECK(again.environment.image->platform == "linux/amd64");
  CHECK(again.environment.lock_digest == hash_of_byte(0x72));
  const RunDefinition is = again.definition, was = full_definition();
  CHECK(is.command == was.command);
  CHECK(is.isolation == was.isolation);
  CHECK(is.max_run_duration == was.max_run_duration);
  CHECK(is.grace == was.grace);
  CHECK(is.max_log_bytes == was.max_log_bytes);
  CHECK(is.gpus == was.gpus);
  CHECK(is.mounts.size() == 2);
  CHECK(is.mounts[1].writable);
  CHECK(is.engine.ulimits.at(0).hard == 2048);
  CHECK(is.engine.labels == was.engine.labels);
  CHECK(is.secrets == was.secrets);
  CHECK(is.machine == was.machine);
  CHECK(is.withheld == was.withheld);
  CHECK_FALSE(is.network);
}

void check_others(History& history) {
  CHECK(history.get(kFailed).outcome->signal == 9);
  CHECK(history.cancel_fails(kFailed));
  CHECK_FALSE(history.cancel_fails(kLive));
  CHECK(history.get(kLive).status == RunStatus::kCancelRequested);
  CHECK(history.removed_at(kGone) == moment(26));
  CHECK(history.removed_at(uuid(6)) == moment(26));
  CHECK(error_of([&] { static_cast<void>(history.get(kGone)); }).code() == ErrorCode::kNotFound);
  CHECK(history.get(kNotebook).outcome->kind == OutcomeKind::kLost);
  const RunRecord interactive = history.get(kInteractive);
  CHECK(interactive.kind == RunKind::kInteractive);
  CHECK(interactive.status == RunStatus::kRunning);
  CHECK(history.get(uuid(7)).status == RunStatus::kRunning);
  CHECK(history.get(kSubmitted).kind == RunKind::kScript);
  CHECK(history.get(kSubmitted).parent == kInteractive);
  const RunRecord waiting = history.get(kWaiting);
  CHECK(waiting.definition.after.at(kSweep) == AfterEnd::kSuccess);
  CHECK(waiting.definition.after.at(kInteractive) == AfterEnd::kAny);
  CHECK(waiting.queue.position == -1.25);
  CHECK(history.queue_held());
  const Environments environments(history);
  REQUIRE(environments.builds(environment_digest()).size() == 1);
  CHECK(environments.builds(environment_digest())[0].variables.at("PATH") == "/envs/0123/bin");
  CHECK(environments.find(environment_digest())->lock == hash_of_byte(0x73));
  CHECK(environments.lock(hash_of_byte(0x72)) == R"({"packages":[]})");
  CHECK_FALSE(environments.version("vision", 1));
  CHECK(environments.version("vision", std::nullopt)->version == 2);
}

void check_searches(const History& history) {
  const auto count = [&](RunFilter filter) {
    filter.experiment = "tracking";
    filter.include_children = true;
    return history.list(filter).size();
  };
  CHECK(count({}) == 14);
  CHECK(count({.kind = RunKind::kChild}) == 6);
  CHECK(count({.kind = RunKind::kInteractive}) == 2);
  CHECK(count({.tags = {{"lr", "0.1"}}}) == 1);
  CHECK(count({.properties = {{"after", "the end"}}}) == 1);
  CHECK(count({.parameters = {parameter_filter("big=9223372036854775807")}}) == 1);
  CHECK(count({.parameters = {parameter_filter("optimizer.lr<0.01")}}) == 1);
  CHECK(count({.metrics = {metric_filter("score.last=0.5")}}) == 1);
  CHECK(count({.metrics = {metric_filter("score.max=0.75")}}) == 1);
  CHECK(count({.metrics = {metric_filter("table")}}) == 1);
  CHECK(count({.text = "later=yes"}) == 1);
  CHECK(count({.text = "bare"}) == 0);
  CHECK(count({.text = "renamed"}) == 1);
  CHECK(count({.text = "-m train"}) == 1);
  CHECK(count({.parent = kSweep, .recursive = true}) == 4);
}

}  // namespace

void write_tracking(History& history) {
  write_sweep(history);
  write_again(history);
  write_ends(history);
  write_living(history);
  write_environments(history);
}

void check_tracking(History& history) {
  check_sweep(history);
  check_values(history);
  check_shapes_of_metrics(history);
  check_definition(history);
  check_others(history);
  check_searches(history);
}

}  // namespace store_test

TEST_CASE("What the golden history is written from is found again in a history of the present schema") {
  using namespace store_test;
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  write_tracking(history);
  check_tracking(history);
  CHECK(history.check_rows([] {})->ledger().entries == kTrackingEntries);
  for (const RowProblem& problem : history.check_rows([] {})->problems()) FAIL_CHECK(problem.text);
}
