#include "runner/shim/records.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/container_start.hpp"
#include "runner/shim/end_record.hpp"
#include "runner/shim/log_copy.hpp"
#include "runner/shim/spec.hpp"
#include "scratch_run.hpp"

namespace runner::shim {
TEST_CASE("every record comes back as it was written, and none is nothing") {
  const ScratchRun scratch;
  const os::RunDirectory& run = scratch.run;
  CHECK_FALSE(read_claim(run));
  CHECK_FALSE(read_started(run));
  CHECK_FALSE(read_ended(run));
  CHECK_FALSE(read_cancel(run));

  const os::ProcessIdentity process{.pid = 42, .start_ticks = 1ULL << 40, .boot_id = "boot"};
  const UtcTime time{std::chrono::microseconds{1'700'000'000'123'456}};
  write_started(run, {.time = time, .init = process, .deadline = std::chrono::nanoseconds{123'456'789'012'345}});
  CHECK(read_started(run)->time == time);
  CHECK(read_started(run)->init == process);
  CHECK(read_started(run)->deadline == std::chrono::nanoseconds{123'456'789'012'345});

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
  outcome.message = "killed \"for\" memory\n\xff";  // not UTF-8: replaced, never an error
  reserve_end_record(run);
  CHECK(record_end(run, {.time = time, .outcome = outcome}));
  CHECK_FALSE(std::filesystem::exists(run.ended_reserve()));
  const auto ended = read_ended(run);
  CHECK(ended->time == time);
  CHECK(ended->outcome.kind == OutcomeKind::kOutOfMemory);
  CHECK(ended->outcome.signal == 9);
  CHECK_FALSE(ended->outcome.exit_code);
  CHECK(ended->outcome.usage == outcome.usage);
  CHECK(ended->outcome.message == "killed \"for\" memory\n\xef\xbf\xbd");

  write_cancel(run, {.reason = "enough", .as_failure = true});
  CHECK(read_cancel(run)->reason == "enough");
  CHECK(read_cancel(run)->as_failure);
}

TEST_CASE("a claim is won once") {
  const ScratchRun scratch;
  const os::ProcessIdentity first{.pid = 1, .start_ticks = 2, .boot_id = "b"};
  CHECK(write_claim_once(scratch.run, {first}));
  CHECK_FALSE(write_claim_once(scratch.run, {os::identify_self()}));
  CHECK(read_claim(scratch.run)->shim == first);
}

TEST_CASE("the claim of an interactive run names what it leaves behind, a shim's does not") {
  const ScratchRun scratch;
  REQUIRE(write_claim_once(scratch.run, {.shim = os::identify_self(), .attempt = 1, .outputs = "/home/dev/results"}));
  CHECK(read_claim(scratch.run)->outputs == "/home/dev/results");
  const ScratchRun other;
  REQUIRE(write_claim_once(other.run, {.shim = os::identify_self()}));
  CHECK(read_claim(other.run)->outputs.empty());
  CHECK(read_claim(other.run)->attempt == 1);
}

TEST_CASE("a claim that cannot be read is a claim all the same") {
  const ScratchRun scratch;
  CHECK_FALSE(is_claimed(scratch.run));
  const auto damaged = GENERATE("", "{", "{\"version\":1}");
  std::ofstream(scratch.run.claim()) << damaged;
  CHECK(is_claimed(scratch.run));
  CHECK_THROWS_AS(read_claim(scratch.run), Error);
  CHECK_FALSE(write_claim_once(scratch.run, {os::identify_self()}));
}

TEST_CASE("a start.json that cannot be read is none, and fsck hears of it") {
  const ScratchRun scratch;
  CHECK_NOTHROW(check_started(scratch.run));
  const auto damaged = GENERATE("", "{", "[]", "{\"version\":2}", "{\"version\":1,\"timeMicros\":\"x\"}");
  std::ofstream(scratch.run.started()) << damaged;
  CHECK_FALSE(read_started(scratch.run));
  CHECK_THROWS_AS(check_started(scratch.run), Error);
}

TEST_CASE("a damaged record is an error that names the file, an unknown key is none") {
  const ScratchRun scratch;
  const auto damaged =
      GENERATE("", "{", "[]", "{\"version\":2}", "{\"version\":1}", "{\"version\":1,\"timeMicros\":\"x\"}");
  std::ofstream(scratch.run.ended()) << damaged;
  try {
    read_ended(scratch.run);
    FAIL("no error for " << damaged);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInternal);
    CHECK(error.message().find("exit.json") != std::string::npos);
  }
  std::ofstream(scratch.run.cancel()) << R"({"version":1,"reason":"r","later":[1]})";
  CHECK(read_cancel(scratch.run)->reason == "r");
}

TEST_CASE("spec.json comes back as it was written") {
  const ScratchRun scratch;
  Spec spec;
  spec.run_id = "exp_1_abc";
  spec.runtime_command = {"/usr/bin/crun", "run", "a b"};
  spec.hide_cgroups = true;
  spec.join_cgroups = false;
  spec.cgroups = {.version = 1, .directories = {{"memory", "/m/runner-x"}}, .foreign = {"/f/runner-x"}};
  spec.limits = {.memory_bytes = 1, .pids = {}, .cpus = 0.5};
  spec.max_run_duration = std::chrono::milliseconds(1500);
  spec.grace = std::chrono::milliseconds(20);
  spec.script_name = "train.py";
  spec.warm_cgroups_file = "/m/cgroup.procs";
  write_spec(scratch.run, spec);
  const Spec back = read_spec(scratch.run);
  CHECK(back.runtime_command == spec.runtime_command);
  CHECK(back.hide_cgroups);
  CHECK_FALSE(back.user_namespace);
  CHECK_FALSE(back.join_cgroups);
  CHECK(back.cgroups.directories == spec.cgroups.directories);
  CHECK(back.cgroups.foreign == spec.cgroups.foreign);
  CHECK(back.limits.memory_bytes == 1);
  CHECK_FALSE(back.limits.pids);
  CHECK(back.limits.cpus == 0.5);
  CHECK(back.max_run_duration == spec.max_run_duration);
  CHECK(back.grace == spec.grace);
  CHECK(back.warm_cgroups_file == "/m/cgroup.procs");
  std::ofstream(scratch.run.spec()) << "{\"version\":1}";
  CHECK_THROWS_AS(read_spec(scratch.run), Error);
}

TEST_CASE("a run that is paused, refused a pause or runs under a chosen interpreter says so") {
  const ScratchRun scratch;
  Started started;
  started.time = UtcTime{std::chrono::microseconds{5}};
  started.paused = true;
  started.pause_requests = std::uint64_t{1} << 40;
  started.pause_error = "pause: the engine \"says\" no";
  started.interpreter = "python3";
  write_started(scratch.run, started);
  const auto back = read_started(scratch.run);
  REQUIRE(back);
  CHECK(back->paused);
  CHECK(back->pause_requests == std::uint64_t{1} << 40);
  CHECK(back->pause_error == started.pause_error);
  CHECK(back->interpreter == "python3");
  CHECK(back->init.pid == 0);  // not visible from here
  CHECK_FALSE(back->deadline);
}

TEST_CASE("a start.json of before there was pausing still reads") {
  const ScratchRun scratch;
  std::ofstream(scratch.run.started())
      << R"({"version":1,"timeMicros":7,"init":{"pid":42,"startTicks":9,"bootId":"b"},"deadlineMonotonicNanos":11})";
  const auto started = read_started(scratch.run);
  REQUIRE(started);
  CHECK(started->init == os::ProcessIdentity{.pid = 42, .start_ticks = 9, .boot_id = "b"});
  CHECK(started->deadline == std::chrono::nanoseconds{11});
  CHECK_FALSE(started->paused);
  CHECK(started->pause_requests == 0);
  CHECK(started->pause_error.empty());
  CHECK(started->interpreter.empty());
}

TEST_CASE("a request to pause comes back as it was written, the last one counts") {
  const ScratchRun scratch;
  CHECK_FALSE(read_pause(scratch.run));
  write_pause(scratch.run, {.paused = true, .number = 1});
  CHECK(read_pause(scratch.run)->paused);
  CHECK(read_pause(scratch.run)->number == 1);
  write_pause(scratch.run, {.paused = false, .number = 2});
  CHECK_FALSE(read_pause(scratch.run)->paused);
  CHECK(read_pause(scratch.run)->number == 2);
  std::ofstream(scratch.run.pause()) << R"({"version":1,"paused":true})";
  CHECK_THROWS_AS(read_pause(scratch.run), Error);
}

TEST_CASE("what a spec says of an Engine's container comes back as it was written") {
  const ScratchRun scratch;
  Spec spec;
  spec.run_id = "r";
  spec.runtime_command = {"/usr/bin/runner-engine", "/r/container.json"};
  spec.engine = true;
  spec.join_cgroups = false;
  spec.candidates = {"python3", "python"};
  spec.image = "host:5000/a:1";
  spec.secrets = true;
  write_spec(scratch.run, spec);
  const Spec back = read_spec(scratch.run);
  CHECK(back.engine);
  CHECK(back.candidates == spec.candidates);
  CHECK(back.image == spec.image);
  CHECK(back.secrets);
}

TEST_CASE("a spec.json of before there were images still reads") {
  const ScratchRun scratch;
  std::ofstream(scratch.run.spec())
      << R"({"version":1,"runId":"r","runtimeCommand":["/usr/bin/crun"],"hideCgroups":true,"userNamespace":false,)"
      << R"("joinCgroups":true,"cgroups":{"version":0,"directories":{},"foreign":[]},"limits":{},"graceMillis":10,)"
      << R"("scriptName":"a.py"})";
  const Spec spec = read_spec(scratch.run);
  CHECK(spec.hide_cgroups);
  CHECK_FALSE(spec.engine);
  CHECK(spec.candidates.empty());
  CHECK(spec.image.empty());
  CHECK_FALSE(spec.secrets);
}

TEST_CASE("the runtime's last line is what people see of it") {
  const ScratchRun scratch;
  CHECK(runtime_words(scratch.run).empty());
  std::ofstream(scratch.run.runtime_log()) << "warning\ntime=\"2026\" level=error msg=\"runc run failed: no\"\n";
  CHECK(runtime_words(scratch.run) == "runc run failed: no");
  std::ofstream(scratch.run.runtime_log()) << "mount `overlay`: Invalid argument\n\n";
  CHECK(runtime_words(scratch.run) == "mount `overlay`: Invalid argument");
}

TEST_CASE("the log takes what the FIFO holds, in order, whoever opened it") {
  const ScratchRun scratch;
  LogCopy log(scratch.run, std::nullopt);
  CHECK_FALSE(log.copy_some());
  {
    const os::Fd script = os::open_file(scratch.run.log_fifo(), O_WRONLY | O_TRUNC);
    const os::Fd again = os::open_file(scratch.run.log_fifo(), O_WRONLY | O_TRUNC);
    os::write_all(script.get(), "one\n", "fifo");
    os::write_all(again.get(), "two\n", "fifo");
  }
  CHECK(log.copy_some());
  CHECK(os::read_file(scratch.run.log()) == "one\ntwo\n");
  log.finish();
  CHECK(log.lost_bytes() == 0);
}

TEST_CASE("a log that cannot grow is counted, and the script goes on") {
  const ScratchRun scratch;
  const pid_t child = ::fork();  // the file size limit would hold for the other tests, too
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{.rlim_cur = 6, .rlim_max = 6};
    ::setrlimit(RLIMIT_FSIZE, &small);
    LogCopy log(scratch.run, std::nullopt);
    const os::Fd script = os::open_file(scratch.run.log_fifo(), O_WRONLY);
    os::write_all(script.get(), "kept\nlost\n", "fifo");
    log.finish();
    ::_exit(log.lost_bytes() == 4 && !log.lost_reason().empty() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(os::read_file(scratch.run.log()) == "kept\nl");
}

TEST_CASE("beyond its limit a log keeps nothing more, counts it, and the FIFO is emptied") {
  const ScratchRun scratch;
  LogCopy log(scratch.run, 6);
  const os::Fd script = os::open_file(scratch.run.log_fifo(), O_WRONLY);
  os::write_all(script.get(), "kept\nlost\n", "fifo");
  CHECK(log.copy_some());
  os::write_all(script.get(), "more\n", "fifo");
  log.finish();
  CHECK(log.bytes_over_limit() == 9);
  CHECK(log.lost_bytes() == 0);
  CHECK(os::read_file(scratch.run.log()) == "kept\nl");
}

TEST_CASE("a limit of nothing keeps nothing") {
  const ScratchRun scratch;
  LogCopy log(scratch.run, 0);
  const os::Fd script = os::open_file(scratch.run.log_fifo(), O_WRONLY);
  os::write_all(script.get(), "lost\n", "fifo");
  log.finish();
  CHECK(log.bytes_over_limit() == 5);
  CHECK(os::read_file(scratch.run.log()).empty());
}

}  // namespace runner::shim
