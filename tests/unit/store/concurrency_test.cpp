#include <sys/resource.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <thread>

#include "fixture.hpp"
#include "metric_records.hpp"
#include "store/content_store.hpp"
#include "store/damage.hpp"
#include "store/group_commit.hpp"
#include "store/history.hpp"
#include "store/sqlite_handle.hpp"
#include "store/wal_reserve.hpp"

using namespace runner;
using namespace runner::store;
using namespace store_test;

namespace {

constexpr int kThreads = 8;

// Threads that start together.
template <class Body>
void together(Body&& body) {
  std::barrier start(kThreads);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      body(i);
    });
}

// No file of this process grows beyond `bytes` while it lives: a full disk, as far as SQLite can tell.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : previous_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit small{bytes, previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    std::signal(SIGXFSZ, previous_handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  void (*previous_handler_)(int);
  rlimit previous_{};
};

}  // namespace

TEST_CASE("Eight threads write runs, states and metrics at once and nothing is lost or mixed") {
  const TemporaryDirectory directory;
  constexpr int kRuns = 20;
  History history(directory / "runner.db");
  std::atomic<int> failures{0};
  together([&](int thread) {
    try {
      for (int i = 0; i < kRuns; ++i) {
        const std::string id = "e" + std::to_string(thread) + "_1_" + std::to_string(10'000'000 + i);
        RunRecord run = sample_run(id, "e" + std::to_string(thread));
        history.add_run(run);
        failures += !history.set_status(id, RunStatus::kRunning, "", at(i));
        history.add_metrics(id, std::vector{point("m", std::int64_t{i})}, 1);
        failures += history.metric_points(id, "m").size() != 1;
        failures += history.get(id).status != RunStatus::kRunning;
        failures += history.finish(id, RunStatus::kCompleted, "", {}, {}, at(i), {}).empty();
      }
    } catch (const Error&) {
      ++failures;
    }
  });
  CHECK(failures == 0);
  CHECK(history.list({}).size() == kThreads * kRuns);
  CHECK(history.unfinished().empty());
}

TEST_CASE("One of eight submissions with one idempotency key wins and the others get its run") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  std::atomic<int> created{0};
  together([&](int thread) {
    RunRecord run = sample_run("train_1_0000000" + std::to_string(thread));
    run.idempotency_key = "k";
    created += !history.add_run(run).existed;
  });
  CHECK(created == 1);
  CHECK(history.list({}).size() == 1);
}

TEST_CASE("Who waits for a writer that finds the file corrupt does not write to it") {
  const TemporaryDirectory directory;
  Connection writer(directory / "test.db", Connection::Mode::kReadWrite);
  writer.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(x INTEGER PRIMARY KEY) STRICT");
  WalReserve reserve(directory / "test.db-wal", 1 << 20);
  Damage damage;
  GroupCommit commits(writer, nullptr, reserve, damage);
  std::atomic<int> waiting{0};
  std::atomic<int> refused{0};
  {
    std::vector<std::jthread> others;
    commits.run(Sync::kRelaxed, [&](Connection&) {
      for (int i = 0; i < 4; ++i)
        others.emplace_back([&, i] {
          ++waiting;
          try {
            commits.run(Sync::kDurable, [i](Connection& connection) { connection.run("INSERT INTO t VALUES (?)", i); });
          } catch (const Error& error) {
            refused += error.code() == ErrorCode::kUnavailable;
          }
        });
      while (waiting < 4) std::this_thread::yield();
      damage.report(Damage::Kind::kCorrupt, "test.db: malformed");
    });
  }
  CHECK(refused == 4);
  CHECK_FALSE(writer.query("SELECT 1 FROM t").next());
}

TEST_CASE("A failing operation undoes only itself, whatever shares its transaction") {
  const TemporaryDirectory directory;
  Connection writer(directory / "test.db", Connection::Mode::kReadWrite);
  writer.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(x INTEGER PRIMARY KEY) STRICT");
  WalReserve reserve(directory / "test.db-wal", 1 << 20);
  Damage damage;
  GroupCommit commits(writer, nullptr, reserve, damage);
  std::atomic<int> refused{0};
  together([&](int thread) {
    for (int i = 0; i < 50; ++i) {
      const int x = thread * 1000 + i;
      try {
        commits.run(i % 2 == 0 ? Sync::kDurable : Sync::kRelaxed, [&](Connection& connection) {
          connection.run("INSERT INTO t VALUES (?)", x);
          if (i % 5 == 0) throw Error(ErrorCode::kInvalid, "refused");
        });
      } catch (const Error&) {
        ++refused;
      }
    }
  });
  CHECK(refused == kThreads * 10);
  Query count = writer.query("SELECT count(*), sum(x % 5 = 0) FROM t");
  REQUIRE(count.next());
  CHECK(count.integer(0) == kThreads * 40);
  CHECK(count.integer(1) == 0);
}

TEST_CASE("A full disk refuses a run with noSpace, and the history works again afterwards") {
  const TemporaryDirectory directory;
  History history(directory / "runner.db");
  history.add_run(sample_run("train_1_00000001"));
  {
    const FullDisk full(400'000);
    std::optional<Error> refused;
    for (int i = 0; i < 1000 && !refused; ++i) try {
        history.add_run(sample_run("full_1_" + std::to_string(10'000'000 + i)));
      } catch (const Error& error) {
        refused = error;
      }
    REQUIRE(refused);
    CHECK(refused->code() == ErrorCode::kNoSpace);
    CHECK_FALSE(refused->hint().empty());
    CHECK(history.get("train_1_00000001").id == "train_1_00000001");
  }
  history.add_run(sample_run("train_1_00000002"));
  CHECK(history.get("train_1_00000002").id == "train_1_00000002");
  CHECK(sql(directory / "runner.db", "PRAGMA integrity_check") == "ok");
}

TEST_CASE("A full disk fails a batch with noSpace at any size, and the content store works again afterwards") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const std::size_t size = GENERATE(1U << 10, 200U << 10, 3U << 20);
  Hash refused_hash;
  {
    const FullDisk full(2U << 20);
    const auto batch = content.begin();
    std::optional<Error> refused;
    for (std::uint64_t i = 0; i < (8U << 20) / size + 1 && !refused; ++i) try {
        refused_hash = batch->put(bytes_of(random_bytes(size, i)));
      } catch (const Error& error) {
        refused = error;
      }
    if (refused) UNSCOPED_INFO(refused->message());
    const Error at_commit = error_of([&] { batch->commit(); });  // at the latest, and again if a put has failed
    CHECK(at_commit.code() == ErrorCode::kNoSpace);
    if (refused) CHECK(refused->code() == ErrorCode::kNoSpace);
    CHECK_FALSE(content.contains(refused_hash));
  }
  const auto batch = content.begin();
  const std::string bytes = random_bytes(size, 1000);
  const Hash hash = batch->put(bytes_of(bytes));
  batch->commit();
  CHECK(content.read_all(hash) == bytes);
  CHECK(sql(directory / "content.db", "PRAGMA integrity_check") == "ok");
}

TEST_CASE("Eight batches with the same content at once keep one copy and all of them may rely on it") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  constexpr int kFiles = 200;
  const std::string large = random_bytes(5U << 20, 77);
  std::atomic<int> missing{0};
  together([&](int) {
    const auto batch = content.begin();
    std::vector<Hash> hashes;
    for (int i = 0; i < kFiles; ++i) hashes.push_back(batch->put(bytes_of("file " + std::to_string(i))));
    hashes.push_back(batch->put(bytes_of(large)));
    batch->commit();
    for (const Hash& hash : hashes) missing += !content.contains(hash);
    missing += content.read_all(hashes.back()) != large;
  });
  CHECK(missing == 0);
  const std::string chunks = sql(directory / "content.db", "SELECT count(*) FROM chunk");
  CHECK(chunks == sql(directory / "content.db", "SELECT count(DISTINCT chunk) FROM content WHERE chunk IS NOT NULL"));
}

TEST_CASE("Eight threads may put into one batch") {
  const TemporaryDirectory directory;
  ContentStore content(directory / "content.db");
  const auto batch = content.begin();
  constexpr int kFiles = 1500;
  together([&](int thread) {
    for (int i = 0; i < kFiles; ++i) {
      const std::string own = random_bytes(2000, static_cast<std::uint64_t>(thread * kFiles + i));
      batch->put(bytes_of(own));
      batch->put(bytes_of(std::to_string(i)));  // shared by all threads
    }
  });
  batch->commit();
  CHECK(sql(directory / "content.db", "SELECT count(*) FROM content") == std::to_string(kFiles * (kThreads + 1)));
  CHECK(sql(directory / "content.db", "SELECT count(*) FROM chunk") == std::to_string(kFiles * (kThreads + 1)));
}
