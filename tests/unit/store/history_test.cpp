#include "store/history.hpp"

#include <fstream>

#include "fixture.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

RunRecord full_run() {
  RunRecord run = sample_run("train_1700000000_0123abcd");
  run.name = "größer \"zitiert\"";
  run.snapshot = hash_of_byte(1);
  run.tags = {{"quality", "fantastic run"}, {"bare", std::nullopt}, {"empty", ""}};
  run.properties = {{"azureml.git.dirty", "True"}};
  run.git = GitState{"https://host/x.git", std::nullopt, "abc", true};
  run.environment = {"user-managed",  "",
                     "interpreter",   hash_of_byte(2),
                     hash_of_byte(3), "/usr/bin/python3",
                     "3.11.2",        ImageRef{"sha256:ab", "python@sha256:cd", "linux/amd64"}};
  run.queue.priority = -3;
  run.attempt = 2;
  run.idempotency_key = "key";
  RunDefinition& definition = run.definition;
  definition.arguments = {"--alpha", "0.5", ""};
  definition.command = {"sh", "-c", "echo"};
  definition.config_name = "diabetes";
  definition.isolation = Isolation::kNone;
  definition.max_run_duration = std::chrono::milliseconds(1500);
  definition.grace = std::chrono::milliseconds(0);
  definition.cpus = 1.5;
  definition.memory_bytes = 1LL << 40;
  definition.pids = 100;
  definition.shm_bytes = 0;
  definition.network = false;
  definition.mounts = {{"/data", "/mnt", true}};
  definition.environment_variables = {{"A", "b"}};
  definition.image = "python:3.11";
  definition.image_interpreter = "/opt/bin/python";
  definition.engine_socket = "/run/docker.sock";
  definition.engine = {.network = "mynet",
                       .hostname = "box",
                       .extra_hosts = {"db:10.0.0.1"},
                       .dns = {"9.9.9.9"},
                       .dns_search = {"example.org"},
                       .dns_options = {"ndots:1"},
                       .labels = {{"team", "ml"}},
                       .ulimits = {{"nofile", 1024, 2048}},
                       .tmpfs = {{"/scratch", "size=1m"}},
                       .cpuset_cpus = "0-1",
                       .cpu_shares = 512,
                       .memory_reservation = 1 << 20};
  definition.secrets = {"TOKEN"};
  definition.after = {{"train_1_00000001", AfterEnd::kAny}, {"train_1_00000002", AfterEnd::kSuccess}};
  return run;
}

void check_equal(const EngineOptions& a, const EngineOptions& b) {
  CHECK(a.network == b.network);
  CHECK(a.hostname == b.hostname);
  CHECK(a.extra_hosts == b.extra_hosts);
  CHECK(a.dns == b.dns);
  CHECK(a.dns_search == b.dns_search);
  CHECK(a.dns_options == b.dns_options);
  CHECK(a.labels == b.labels);
  REQUIRE(a.ulimits.size() == b.ulimits.size());
  for (std::size_t i = 0; i < a.ulimits.size(); ++i) {
    CHECK(a.ulimits[i].name == b.ulimits[i].name);
    CHECK(a.ulimits[i].soft == b.ulimits[i].soft);
    CHECK(a.ulimits[i].hard == b.ulimits[i].hard);
  }
  CHECK(a.tmpfs == b.tmpfs);
  CHECK(a.cpuset_cpus == b.cpuset_cpus);
  CHECK(a.cpu_shares == b.cpu_shares);
  CHECK(a.memory_reservation == b.memory_reservation);
}

void check_equal(const RunRecord& a, const RunRecord& b) {
  CHECK(a.id == b.id);
  CHECK(a.experiment == b.experiment);
  CHECK(a.name == b.name);
  CHECK(a.status == b.status);
  CHECK(a.created == b.created);
  CHECK(a.started == b.started);
  CHECK(a.ended == b.ended);
  CHECK(a.attempt == b.attempt);
  CHECK(a.parent == b.parent);
  CHECK(a.snapshot == b.snapshot);
  CHECK(a.tags == b.tags);
  CHECK(a.properties == b.properties);
  REQUIRE(a.git.has_value() == b.git.has_value());
  if (a.git) {
    CHECK(a.git->repository_uri == b.git->repository_uri);
    CHECK(a.git->branch == b.git->branch);
    CHECK(a.git->commit == b.git->commit);
    CHECK(a.git->dirty == b.git->dirty);
  }
  CHECK(a.environment.name == b.environment.name);
  CHECK(a.environment.version == b.environment.version);
  CHECK(a.environment.kind == b.environment.kind);
  CHECK(a.environment.digest == b.environment.digest);
  CHECK(a.environment.lock_digest == b.environment.lock_digest);
  CHECK(a.environment.interpreter == b.environment.interpreter);
  CHECK(a.environment.python_version == b.environment.python_version);
  REQUIRE(a.environment.image.has_value() == b.environment.image.has_value());
  if (a.environment.image) {
    CHECK(a.environment.image->id == b.environment.image->id);
    CHECK(a.environment.image->digest == b.environment.image->digest);
    CHECK(a.environment.image->platform == b.environment.image->platform);
  }
  CHECK(a.definition.image == b.definition.image);
  CHECK(a.definition.image_interpreter == b.definition.image_interpreter);
  CHECK(a.definition.engine_socket == b.definition.engine_socket);
  CHECK(a.definition.secrets == b.definition.secrets);
  CHECK(a.definition.after == b.definition.after);
  check_equal(a.definition.engine, b.definition.engine);
  CHECK(a.definition.script == b.definition.script);
  CHECK(a.definition.arguments == b.definition.arguments);
  CHECK(a.definition.command == b.definition.command);
  CHECK(a.definition.source_directory == b.definition.source_directory);
  CHECK(a.definition.config_name == b.definition.config_name);
  CHECK(a.definition.isolation == b.definition.isolation);
  CHECK(a.definition.max_run_duration == b.definition.max_run_duration);
  CHECK(a.definition.grace == b.definition.grace);
  CHECK(a.definition.cpus == b.definition.cpus);
  CHECK(a.definition.memory_bytes == b.definition.memory_bytes);
  CHECK(a.definition.pids == b.definition.pids);
  CHECK(a.definition.shm_bytes == b.definition.shm_bytes);
  CHECK(a.definition.network == b.definition.network);
  REQUIRE(a.definition.mounts.size() == b.definition.mounts.size());
  for (std::size_t i = 0; i < a.definition.mounts.size(); ++i) {
    CHECK(a.definition.mounts[i].source == b.definition.mounts[i].source);
    CHECK(a.definition.mounts[i].target == b.definition.mounts[i].target);
    CHECK(a.definition.mounts[i].writable == b.definition.mounts[i].writable);
  }
  CHECK(a.definition.environment_variables == b.definition.environment_variables);
  CHECK(a.queue.priority == b.queue.priority);
  CHECK(a.idempotency_key == b.idempotency_key);
  CHECK(a.submission_digest == b.submission_digest);
}

Outcome exited(int code) {
  Outcome outcome;
  outcome.kind = OutcomeKind::kExited;
  outcome.exit_code = code;
  return outcome;
}

}  // namespace

TEST_CASE("A run comes back whole after the file was closed and opened again") {
  const TemporaryDirectory directory;
  const RunRecord run = full_run();
  {
    History history(directory / "runner.db");
    const auto added = history.add_run(run);
    CHECK_FALSE(added.existed);
    CHECK(added.run.id == run.id);
  }
  const History history(directory / "runner.db");
  check_equal(history.get(run.id), run);
  CHECK(history.experiments() == std::vector<std::string>{"train"});
}

TEST_CASE("A run without optional facts comes back without them") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const RunRecord run = sample_run("train_1_00000001");
  history.add_run(run);
  check_equal(history.get(run.id), run);
  CHECK(history.artifacts(run.id).empty());
  CHECK(history.notices(run.id).empty());
  CHECK(history.metric_summaries(run.id).empty());
  CHECK(history.journal_offset(run.id) == 0);
}

TEST_CASE("The database is readable by its owner only") {
  const TemporaryDirectory directory;
  const History history(directory / "runner.db");
  for (const char* name : {"runner.db", "runner.db-wal", "runner.db-shm"})
    CHECK((std::filesystem::status(directory / name).permissions() & std::filesystem::perms(0077)) ==
          std::filesystem::perms::none);
}

TEST_CASE("What was acknowledged survives the death of the process") {
  const TemporaryDirectory directory;
  crash_after([&] {
    History history(directory / "runner.db");
    history.add_run(sample_run("train_1_00000001"));
    history.add_run(sample_run("train_1_00000002"));
    history.set_status("train_1_00000001", RunStatus::kRunning, "", at(5));
    history.finish("train_1_00000002", RunStatus::kFailed, "because", exited(3), RunError{}, at(6), {});
  });
  const History history(directory / "runner.db");
  CHECK(history.get("train_1_00000001").status == RunStatus::kRunning);
  CHECK(history.get("train_1_00000002").outcome->exit_code == 3);
  CHECK(sql(directory / "runner.db", "PRAGMA integrity_check") == "ok");
}

TEST_CASE("A repeated idempotency key gives the existing run, with other content a conflict") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  RunRecord run = sample_run("train_1_00000001");
  run.idempotency_key = "k";
  history.add_run(run);

  run.id = "train_1_00000002";
  const auto again = history.add_run(run);
  CHECK(again.existed);
  CHECK(again.run.id == "train_1_00000001");

  run.submission_digest = hash_of_byte(8);
  const Error error = error_of([&] { history.add_run(run); });
  CHECK(error.code() == ErrorCode::kConflict);
  CHECK(error.message().find("train_1_00000001") != std::string::npos);
  CHECK(history.list({}).size() == 1);
}

TEST_CASE("An id can be used once, and a parent must exist") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run("train_1_00000001"));
  CHECK(error_of([&] { history.add_run(sample_run("train_1_00000001")); }).code() == ErrorCode::kConflict);
  RunRecord orphan = sample_run("train_1_00000002", "nowhere");
  orphan.parent = "train_1_ffffffff";
  CHECK(error_of([&] { history.add_run(orphan); }).code() == ErrorCode::kNotFound);
  CHECK(history.experiments() == std::vector<std::string>{"train"});  // nothing half done
}

TEST_CASE("Text that is not UTF-8 in a definition is refused before anything is written") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  RunRecord run = sample_run("train_1_00000001");
  run.definition.arguments = {"\xff"};
  CHECK(error_of([&] { history.add_run(run); }).code() == ErrorCode::kInvalid);
  CHECK(history.list({}).empty());
}

TEST_CASE("The status moves until the run ends, and the start is recorded once") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000001";
  history.add_run(sample_run(id));
  CHECK(history.set_status(id, RunStatus::kRunning, "r", at(10)));
  CHECK(history.set_status(id, RunStatus::kRunning, "again", at(20)));
  CHECK(history.get(id).started == at(10));
  CHECK(history.get(id).status_reason == "again");
  CHECK_FALSE(history.finish(id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(30), {}).empty());
  CHECK_FALSE(history.set_status(id, RunStatus::kRunning, "late"));
  CHECK(history.get(id).status == RunStatus::kCompleted);
  CHECK(error_of([&] { history.set_status("none", RunStatus::kRunning, ""); }).code() == ErrorCode::kNotFound);
  CHECK_THROWS_AS(history.set_status(id, RunStatus::kFailed, ""), Error);
}

TEST_CASE("A run that waits for its cancellation can only be finalized") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000001";
  history.add_run(sample_run(id));
  CHECK(history.request_cancel(id, {.reason = "cancelled by user dev"}) == std::vector{id});
  CHECK(history.request_cancel(id, {.reason = "second thoughts", .fails = true}) == std::vector{id});
  CHECK_FALSE(history.cancel_fails(id));
  CHECK(history.get(id).status == RunStatus::kCancelRequested);
  CHECK(history.get(id).status_reason == "cancelled by user dev");
  CHECK_FALSE(history.set_status(id, RunStatus::kRunning, "", at(1)));
  CHECK(history.get(id).started == std::nullopt);
  CHECK(history.set_status(id, RunStatus::kFinalizing, ""));
  Outcome outcome;
  outcome.kind = OutcomeKind::kCanceled;
  CHECK_FALSE(history.finish(id, RunStatus::kCanceled, "", outcome, std::nullopt, at(3), {}).empty());
  CHECK(history.request_cancel(id, {.reason = "late"}).empty());
  CHECK(error_of([&] { history.request_cancel("none", {}); }).code() == ErrorCode::kNotFound);
}

TEST_CASE("A run may have artifacts from the start, in the transaction of its row") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  RunRecord run = sample_run("train_1_00000001");
  run.idempotency_key = "once";
  const std::vector<Artifact> first{{"git/diff.patch", 1, hash_of_byte(1)}};
  CHECK_FALSE(history.add_run(run, first).existed);
  REQUIRE(history.artifacts(run.id).size() == 1);
  // The same submission again changes nothing.
  CHECK(history.add_run(run, std::vector<Artifact>{{"git/untracked.txt", 2, hash_of_byte(2)}}).existed);
  CHECK(history.artifacts(run.id).size() == 1);
  // An artifact that cannot be stored takes the row with it.
  const std::vector<Artifact> twice{{"git/diff.patch", 1, hash_of_byte(1)}, {"git/diff.patch", 1, hash_of_byte(1)}};
  CHECK_THROWS(history.add_run(sample_run("train_1_00000002"), twice));
  CHECK(error_of([&] { history.get("train_1_00000002"); }).code() == ErrorCode::kNotFound);
  // The end adds its own.
  const std::vector<Artifact> last{{"outputs/a", 2, hash_of_byte(2)}};
  CHECK_FALSE(history.finish(run.id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(9), last).empty());
  const auto stored = history.artifacts(run.id);
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].name == "git/diff.patch");
  CHECK(stored[1].name == "outputs/a");
}

TEST_CASE("A run finishes once, with outcome, error and artifacts") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000001";
  history.add_run(sample_run(id));
  Outcome outcome;
  outcome.kind = OutcomeKind::kOutOfMemory;
  outcome.signal = 9;
  outcome.usage = {.peak_memory_bytes = 1LL << 41,
                   .mean_memory_bytes = 1LL << 40,
                   .cpu_seconds = 0.25,
                   .peak_cpus = 1.75,
                   .mean_cpus = 0.5,
                   .read_bytes = 4096,
                   .written_bytes = 1LL << 42};
  outcome.message = "killed";
  const std::vector<Artifact> artifacts{
      {"outputs/\xff", 2, hash_of_byte(2)}, {"outputs/a", 1, hash_of_byte(1)}, {"logs/z", 3, hash_of_byte(3)}};
  CHECK_FALSE(
      history.finish(id, RunStatus::kFailed, "memory", outcome, RunError{"UserError", "m", "h"}, at(9), artifacts)
          .empty());
  CHECK(history.finish(id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(10), artifacts).empty());

  const RunRecord run = history.get(id);
  CHECK(run.status == RunStatus::kFailed);
  CHECK(run.status_reason == "memory");
  CHECK(run.ended == at(9));
  REQUIRE(run.outcome);
  CHECK(run.outcome->kind == OutcomeKind::kOutOfMemory);
  CHECK(run.outcome->signal == 9);
  CHECK_FALSE(run.outcome->exit_code);
  CHECK(run.outcome->usage == outcome.usage);
  CHECK(run.outcome->message == "killed");
  REQUIRE(run.error);
  CHECK(run.error->message == "m");
  CHECK(run.error->hint == "h");
  const auto stored = history.artifacts(id);
  REQUIRE(stored.size() == 3);
  CHECK(stored[0].name == "logs/z");
  CHECK(stored[1].name == "outputs/a");
  CHECK(stored[2].name == "outputs/\xff");
  CHECK(stored[2].sha256 == hash_of_byte(2));
  CHECK(stored[0].bytes == 3);
  CHECK(error_of([&] { history.finish("none", RunStatus::kFailed, "", outcome, {}, at(1), {}); }).code() ==
        ErrorCode::kNotFound);
}

TEST_CASE("A final state that fails to be written leaves the run as it was") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000001";
  history.add_run(sample_run(id));
  const std::vector<Artifact> twice{{"outputs/a", 1, hash_of_byte(1)}, {"outputs/a", 1, hash_of_byte(1)}};
  CHECK_THROWS_AS(history.finish(id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(9), twice), Error);
  CHECK(history.get(id).status == RunStatus::kQueued);
  CHECK(history.artifacts(id).empty());
}

TEST_CASE("The environment and notices of a run are recorded while it lives") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  const std::string id = "train_1_00000001";
  history.add_run(sample_run(id));
  history.set_environment(id, full_run().environment);
  CHECK(history.get(id).environment.python_version == "3.11.2");
  CHECK(history.get(id).environment.lock_digest == hash_of_byte(3));
  history.add_notice(id, "b: first");
  history.add_notice(id, "a: second");
  CHECK(history.notices(id) == std::vector<std::string>{"b: first", "a: second"});
  CHECK(error_of([&] { history.add_notice("none", ""); }).code() == ErrorCode::kNotFound);
  CHECK(error_of([&] { history.set_environment("none", {}); }).code() == ErrorCode::kNotFound);
  history.finish(id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(1), {});
  CHECK(error_of([&] { history.set_environment(id, {}); }).code() == ErrorCode::kConflict);
}

TEST_CASE("Properties, submissions and ended runs cannot be changed by anybody who opens the file") {
  const TemporaryDirectory directory;
  const auto file = directory / "runner.db";
  History history(file);
  const RunRecord run = full_run();
  history.add_run(run);

  CHECK(sql(file, "UPDATE property SET value = 'False'") == "error: the properties of a run cannot be changed");
  CHECK(sql(file, "INSERT OR REPLACE INTO property SELECT run, key, 'x' FROM property") ==
        "error: the properties of a run cannot be changed");
  CHECK(sql(file, "DELETE FROM property") == "error: the properties of a run cannot be removed");
  CHECK(sql(file, "UPDATE submission SET definition = '{}'") == "error: what was submitted cannot be changed");
  CHECK(sql(file, "UPDATE run SET id = 'x'") == "error: the identity of a run cannot be changed");
  CHECK(sql(file, "UPDATE run SET snapshot = NULL") == "error: the identity of a run cannot be changed");

  history.finish(run.id, RunStatus::kCompleted, "", exited(0), std::nullopt, at(1), {});
  CHECK(sql(file, "UPDATE run SET status = 'Queued', ended = NULL") == "error: a run that has ended cannot be changed");
  CHECK(sql(file, "UPDATE run SET outcome = '{}'") == "error: a run that has ended cannot be changed");
  CHECK(sql(file, "UPDATE run SET name = 'renamed'").empty());
  check_equal(
      [&] {
        auto now = history.get(run.id);
        now.name = run.name;
        now.status = run.status;
        now.ended = run.ended;
        return now;
      }(),
      run);

  CHECK(sql(file, "DELETE FROM run").empty());  // as a whole it may go
  CHECK(sql(file, "SELECT count(*) FROM property") == "0");
}

TEST_CASE("A newer schema is refused with a hint and left alone") {
  const TemporaryDirectory directory;
  const auto file = directory / "runner.db";
  { const History history(file); }
  sql(file, "PRAGMA user_version = 99");
  const Error error = error_of([&] { const History history(file); });
  CHECK(error.code() == ErrorCode::kConflict);
  CHECK(error.message().find("99") != std::string::npos);
  CHECK_FALSE(error.hint().empty());
  CHECK(sql(file, "PRAGMA user_version") == "99");
}

TEST_CASE("A database of another program and a file that is none are refused") {
  const TemporaryDirectory directory;
  sql(directory / "other.db", "CREATE TABLE t(x)");
  CHECK(error_of([&] { const History history(directory / "other.db"); }).code() == ErrorCode::kConflict);
  CHECK(sql(directory / "other.db", "PRAGMA journal_mode") == "delete");

  std::ofstream(directory / "text") << std::string(8192, 'x');
  const Error error = error_of([&] { const History history(directory / "text"); });
  CHECK(error.code() == ErrorCode::kInternal);
  CHECK(error.hint().find(".recover") != std::string::npos);  // no daemon: no fsck
}

TEST_CASE("a run's place in the queue is its number until it is moved, and stays") {
  TemporaryDirectory directory;
  const auto file = directory / "runner.db";
  {
    History history(file);
    const auto first = history.add_run(sample_run("a_1_00000001")).run;
    const auto second = history.add_run(sample_run("a_1_00000002")).run;
    CHECK(first.queue.position < second.queue.position);
    CHECK(history.get(first.id).queue.position == first.queue.position);
    CHECK(history.set_queue_place(second.id, {.priority = 7, .position = -1.25}));
    history.hold_queue(true);
    CHECK_THROWS_AS(history.set_queue_place("nobody", {}), Error);
  }
  History history(file);
  CHECK(history.queue_held());
  const auto moved = history.get("a_1_00000002").queue;
  CHECK(moved.priority == 7);
  CHECK(moved.position == -1.25);
  history.finish("a_1_00000002", RunStatus::kCompleted, "", {}, {}, utc_now(), {});
  CHECK_FALSE(history.set_queue_place("a_1_00000002", {}));
  history.hold_queue(false);
  CHECK_FALSE(history.queue_held());
}

TEST_CASE("The schema has a version, an application id and the right page size") {
  const TemporaryDirectory directory;
  const auto file = directory / "runner.db";
  const History history(file);
  CHECK(sql(file, "PRAGMA user_version") == "5");
  CHECK(sql(file, "PRAGMA application_id") == std::to_string(0x52756e52));
  CHECK(sql(file, "PRAGMA page_size") == "4096");
  CHECK(sql(file, "PRAGMA journal_mode") == "wal");
  CHECK(sql(file,
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict"
            " AND name NOT LIKE 'sqlite_%'") == "0");
}
