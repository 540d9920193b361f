// bench_scheduling DIRECTORY RUNS SUBMITTERS: what a run costs without its execution. Each run's row is written
// durably, it goes through the queue, starts, and ends durably at once: everything the daemon does but for HTTP,
// snapshot and container. Prints one line of JSON: {"runs", "seconds", "runsPerSecond"}.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runner/pipeline/scheduler.hpp"
#include "store/history.hpp"

namespace {

using namespace runner;

RunRecord make_run(int number) {
  RunRecord run;
  run.id = "bench_1795000000_" + std::to_string(10'000'000 + number);
  run.experiment = "bench";
  run.name = run.id;
  run.status = RunStatus::kQueued;
  run.created = utc_now();
  run.snapshot = Hash{};
  run.properties["ContentSnapshotId"] = run.snapshot->hex();
  run.environment.kind = "none";
  run.definition.command = {"true"};
  run.definition.source_directory = "/home/somebody/project";
  return run;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::fputs("usage: bench_scheduling DIRECTORY RUNS SUBMITTERS\n", stderr);
    return 2;
  }
  const int runs = std::atoi(arguments[2]);
  const int submitters = std::atoi(arguments[3]);
  store::History history(std::filesystem::path(arguments[1]) / "bench.db");
  std::mutex mutex;
  std::condition_variable all_ended;
  int ended = 0;
  std::optional<pipeline::Scheduler> scheduler;
  scheduler.emplace(pipeline::Resources{8000, 0}, pipeline::GpuSlots(), false,
                    pipeline::Scheduler::Callbacks{
                        .start =
                            [&](const std::string& id) {
                              history.set_status(id, RunStatus::kStarting, "");
                              history.set_status(id, RunStatus::kRunning, "", utc_now());
                              scheduler->release(id);
                              scheduler->post([&, id] {
                                history.finish(id, RunStatus::kCompleted, "",
                                               Outcome{.kind = OutcomeKind::kExited, .exit_code = 0}, std::nullopt,
                                               utc_now(), {});
                                scheduler->ended(id, true);
                                const std::lock_guard lock(mutex);
                                if (++ended == runs) all_ended.notify_all();
                              });
                            },
                        .give_way = [](const std::string&, const std::string&) {},
                    });
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<int> next{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < submitters; ++i)
    threads.emplace_back([&] {
      for (int number = next++; number < runs; number = next++) {
        const store::History::Added added = history.add_run(make_run(number));
        scheduler->enqueue({.id = added.run.id, .place = added.run.queue, .wanted = {1000, 0}});
      }
    });
  threads.clear();
  {
    std::unique_lock lock(mutex);
    all_ended.wait(lock, [&] { return ended == runs; });
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("{\"runs\": %d, \"seconds\": %.3f, \"runsPerSecond\": %.0f}\n", runs, seconds, runs / seconds);
  scheduler.reset();
  return 0;
}
