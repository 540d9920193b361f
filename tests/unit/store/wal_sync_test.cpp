// What is on the disk when, seen by the calls that put it there: fdatasync(2) is this file's own here.
#include "store/wal_sync.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <filesystem>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "runner/core/error.hpp"
#include "store/history.hpp"

namespace {
std::atomic<int> syncs{0};
std::atomic<int> sync_errno{0};
std::atomic<int> sync_millis{0};
}  // namespace

extern "C" int fdatasync(int file) {
  ++syncs;
  if (const int pause = sync_millis) ::usleep(static_cast<useconds_t>(pause) * 1000);
  if (const int error = sync_errno) {
    errno = error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, file));
}

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

RunRecord run_of(int number) {
  RunRecord run = sample_run("train_1_" + std::to_string(10'000'000 + number));
  run.idempotency_key.reset();
  return run;
}

struct Misbehaving {  // disk
  Misbehaving(int error, int millis) {
    sync_errno = error;
    sync_millis = millis;
  }
  ~Misbehaving() { sync_errno = sync_millis = 0; }
};

}  // namespace

TEST_CASE("What is acknowledged as durable has been synced, what is relaxed has not") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  int before = syncs;
  history.add_run(run_of(1));
  CHECK(syncs > before);
  before = syncs;
  history.set_status(run_of(1).id, RunStatus::kRunning, "");
  history.add_notice(run_of(1).id, "a notice");
  CHECK(syncs == before);
  history.make_durable();
  CHECK(syncs == before + 1);
  history.make_durable();
  CHECK(syncs == before + 1);  // nothing new
  history.finish(run_of(1).id, RunStatus::kCompleted, "", Outcome{.kind = OutcomeKind::kExited}, std::nullopt, at(9),
                 {});
  CHECK(syncs == before + 2);
}

TEST_CASE("Relaxed writes and reads go on while the disk syncs, and many durable ones share a sync") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(run_of(0));
  const Misbehaving slow(0, 200);
  const int before = syncs;
  constexpr int kWriters = 8;
  std::atomic<int> done{0};
  std::vector<std::jthread> writers;
  for (int i = 1; i <= kWriters; ++i)
    writers.emplace_back([&, i] {
      history.add_run(run_of(i));
      ++done;
    });
  while (syncs == before) ::usleep(1000);
  for (int i = 0; i < 50; ++i) history.set_status(run_of(0).id, RunStatus::kRunning, std::to_string(i));
  CHECK(history.get(run_of(0).id).status_reason == "49");
  CHECK(done == 0);  // all of that within the first sync
  writers.clear();
  CHECK(done == kWriters);
  CHECK(syncs - before <= 3);
}

TEST_CASE("A sync that fails is told to everyone whom it was for, and the file is only read until the disk is well") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(run_of(0));
  std::atomic<int> failures{0};
  const Misbehaving broken(EIO, 50);
  {
    std::barrier start(4);
    std::vector<std::jthread> writers;
    for (int i = 1; i <= 4; ++i)
      writers.emplace_back([&, i] {
        start.arrive_and_wait();
        try {
          history.add_run(run_of(i));
        } catch (const Error&) {
          ++failures;
        }
      });
  }
  CHECK(failures == 4);
  try {
    history.add_run(run_of(9));
    FAIL("written to a file that could not be synced");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK(error.message().find("runner.db") != std::string::npos);
    CHECK(error.hint().find("runner fsck") != std::string::npos);
  }
  CHECK(history.damage());
  CHECK(history.get(run_of(0).id).id == run_of(0).id);
  sync_errno = 0;
  CHECK_NOTHROW(history.add_run(run_of(9)));
  CHECK_FALSE(history.damage());
  CHECK(std::filesystem::file_size(directory / "runner.db-wal") < 100'000);  // copied: there is no gap before it
}

TEST_CASE("A full disk that could not be synced is no damage once there is room: what comes later is durable") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(run_of(0));
  {
    const Misbehaving full(ENOSPC, 0);
    CHECK_THROWS_AS(history.add_run(run_of(1)), Error);
    CHECK_THROWS_AS(history.add_run(run_of(2)), Error);
  }
  CHECK_NOTHROW(history.require_room());
  CHECK_FALSE(history.damage());
  CHECK(std::filesystem::file_size(directory / "runner.db-wal") == 0);  // copied
  CHECK_NOTHROW(history.add_run(run_of(2)));
}

TEST_CASE("Behind a commit that could not be synced none is durable until the log has been copied into the file") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  WalSync wal(directory / "runner.db-wal");
  const auto first = wal.committed(), second = wal.committed();
  {
    const Misbehaving broken(EIO, 0);
    CHECK_THROWS_AS(wal.await(first), Error);
  }
  CHECK_THROWS_AS(wal.await(second), Error);
  const auto third = wal.committed();
  CHECK_THROWS_AS(wal.await(third), Error);  // its sync would succeed, and a reader of the log never come to it
  wal.mended(third);
  CHECK_NOTHROW(wal.await(second));
  CHECK_NOTHROW(wal.await(third));
  CHECK_NOTHROW(wal.await(wal.committed()));
}

TEST_CASE("The log has room on the disk before anything is written to it, also after it has been emptied") {
  const TemporaryDirectory directory;
  const auto blocks = [&] {
    struct ::stat info {};
    REQUIRE(::stat((directory / "runner.db-wal").c_str(), &info) == 0);
    return info.st_blocks * 512;
  };
  {
    History history(directory / "runner.db");
    CHECK(blocks() >= 4 << 20);
    const auto length = std::filesystem::file_size(directory / "runner.db-wal");
    CHECK(length < 4 << 20);
    CHECK_NOTHROW(history.require_room());
  }
}

TEST_CASE("What a killed process has left in the log is durable before anything new is, or nothing new is accepted") {
  const TemporaryDirectory directory;
  const TemporaryDirectory killed;
  {
    History history(directory / "runner.db");
    history.add_run(run_of(1));
    for (const char* const name : {"runner.db", "runner.db-wal"})
      std::filesystem::copy_file(directory / name, killed / name);
  }
  const Misbehaving broken(EIO, 0);
  History history(killed / "runner.db");
  CHECK(history.get(run_of(1).id).id == run_of(1).id);
  CHECK(history.damage());
  CHECK_THROWS_AS(history.make_durable(), Error);
  CHECK_THROWS_AS(history.add_run(run_of(2)), Error);
  CHECK_THROWS_AS(history.require_room(), Error);
  sync_errno = 0;
  CHECK_NOTHROW(history.make_durable());
  CHECK(std::filesystem::file_size(killed / "runner.db-wal") == 0);  // copied, not only synced
  CHECK_NOTHROW(history.require_room());
  CHECK_NOTHROW(history.add_run(run_of(2)));
}
