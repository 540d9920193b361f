// What is on the disk when, seen by the calls that put it there: fdatasync(2) is this file's own here.
#include "store/wal_sync.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
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

TEST_CASE("A sync that fails is told to everyone whom it was for, and a second one that succeeds does not hide it") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(run_of(0));
  std::atomic<int> failures{0};
  {
    const Misbehaving broken(EIO, 50);
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
  history.add_run(run_of(9));
  CHECK(history.get(run_of(9).id).id == run_of(9).id);

  WalSync wal(directory / "runner.db-wal");
  const auto first = wal.committed(), second = wal.committed();
  sync_errno = EIO;
  CHECK_THROWS_AS(wal.await(first), Error);
  sync_errno = 0;
  CHECK_THROWS_AS(wal.await(second), Error);
  const auto third = wal.committed();
  CHECK_NOTHROW(wal.await(third));
  CHECK_THROWS_AS(wal.await(second), Error);
}
