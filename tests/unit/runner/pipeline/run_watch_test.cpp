#include <catch2/catch.hpp>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include "runner/os/file.hpp"
#include "runner/os/process.hpp"
#include "runner/pipeline/run_watch.hpp"

namespace os = runner::os;
using runner::pipeline::RunObserver;
using runner::pipeline::RunWatch;

namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
    std::filesystem::create_directory(path / "io");
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

// Counts what was reported; waits for a count with a deadline.
class Reports {
 public:
  RunObserver observer() {
    return {.started = [this](const std::string& id) { add("started " + id); },
            .log_grew = [this](const std::string& id) { add("log " + id); },
            .journal_grew = [this](const std::string& id) { add("journal " + id); },
            .ended = [this](const std::string& id) { add("ended " + id); }};
  }
  bool wait_for(const std::string& what, int count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return counts_[what] >= count; });
  }
  int count(const std::string& what) {
    const std::lock_guard lock(mutex_);
    return counts_[what];
  }

 private:
  void add(const std::string& what) {
    {
      const std::lock_guard lock(mutex_);
      ++counts_[what];
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> counts_;
};

void append(const std::filesystem::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

}  // namespace

TEST_CASE("records, log and journal of a watched run are reported") {
  const Directory directory;
  const os::RunDirectory run(directory.path);
  Reports reports;
  RunWatch watch(reports.observer());
  watch.add("a", run);
  REQUIRE(reports.wait_for("log a"));
  const int logs = reports.count("log a");
  append(run.log(), "line\n");
  CHECK(reports.wait_for("log a", logs + 1));
  os::publish_file(run.started(), "{}", os::Durability::kAtomic);
  CHECK(reports.wait_for("started a"));
  const int journals = reports.count("journal a");
  append(run.journal(), "x");
  CHECK(reports.wait_for("journal a", journals + 1));
  os::publish_file(run.ended(), "{}", os::Durability::kAtomic);
  CHECK(reports.wait_for("ended a"));
}

TEST_CASE("what happened before the run was watched is reported too") {
  const Directory directory;
  const os::RunDirectory run(directory.path);
  os::publish_file(run.started(), "{}", os::Durability::kAtomic);
  os::publish_file(run.ended(), "{}", os::Durability::kAtomic);
  Reports reports;
  RunWatch watch(reports.observer());
  watch.add("a", run);
  CHECK(reports.wait_for("started a"));
  CHECK(reports.wait_for("ended a"));
}

TEST_CASE("the end is reported once, though record and supervisor both tell it") {
  const Directory directory;
  const os::RunDirectory run(directory.path);
  Reports reports;
  RunWatch watch(reports.observer());
  watch.add("a", run);
  os::Child child = os::spawn({.arguments = {"/bin/sh", "-c", "read x"}, .descriptors = {}});
  watch.set_shim("a", std::move(child.pidfd));
  CHECK(reports.wait_for("ended a"));  // its stdin is empty: it ends at once
  os::publish_file(run.ended(), "{}", os::Durability::kAtomic);
  append(run.log(), "after");
  REQUIRE(reports.wait_for("log a", 2));  // events are in order: the record's was looked at before
  CHECK(reports.count("ended a") == 1);
}

TEST_CASE("a forgotten run is silent, and its end can be asked for again") {
  const Directory directory;
  const Directory other;
  Reports reports;
  RunWatch watch(reports.observer());
  watch.add("a", os::RunDirectory(directory.path));
  watch.add("b", os::RunDirectory(other.path));
  watch.remove("a");
  os::publish_file(directory.path / "exit.json", "{}", os::Durability::kAtomic);
  os::publish_file(other.path / "exit.json", "{}", os::Durability::kAtomic);
  REQUIRE(reports.wait_for("ended b"));
  CHECK(reports.count("ended a") == 0);
  watch.retry_ended("b", std::chrono::milliseconds{1});
  CHECK(reports.wait_for("ended b", 2));
  CHECK_FALSE(watch.signal_shim("b", 0));
}
