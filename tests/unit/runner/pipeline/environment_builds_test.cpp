#include "runner/pipeline/environment_builds.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

using namespace runner;
using namespace runner::pipeline;

namespace {

Hash hash_of(unsigned char first) {
  Hash hash{};
  hash.bytes[0] = first;
  return hash;
}

BuildJob job(unsigned char environment, BuildLane lane = BuildLane::kVenv) {
  BuildJob wanted;
  wanted.lane = lane;
  wanted.environment = hash_of(environment);
  return wanted;
}

// Builds that wait for the test.
class Site {
 public:
  EnvironmentBuilds::Callbacks callbacks() {
    return {.build = [this](const BuildJob& wanted, BuildControl& control) { return build(wanted, control); },
            .progress =
                [this](const std::string& run, const std::string& line) {
                  const std::lock_guard lock(mutex_);
                  told[run] = line;
                },
            .ended =
                [this](const BuildEnd& end) {
                  const std::lock_guard lock(mutex_);
                  ends.push_back(end);
                  changed_.notify_all();
                },
            .afterwards = [](const BuildJob&, const store::EnvironmentBuild&, BuildControl&) {}};
  }
  template <class Condition>
  void until(const Condition& condition) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(30), condition));
  }
  void finish(bool good = true) {
    const std::lock_guard lock(mutex_);
    good_ = good;
    ++allowed_;
    changed_.notify_all();
  }

  int begun = 0;
  int stopped = 0;
  std::vector<BuildEnd> ends;
  std::map<std::string, std::string> told;

 private:
  store::EnvironmentBuild build(const BuildJob& wanted, BuildControl& control) {
    std::unique_lock lock(mutex_);
    ++begun;
    changed_.notify_all();
    lock.unlock();
    control.progress("at work");
    control.warn("beware");
    lock.lock();
    while (allowed_ == 0) {
      changed_.wait_for(lock, std::chrono::milliseconds(5));
      if (!control.stopped()) continue;
      ++stopped;
      changed_.notify_all();
      throw Error(ErrorCode::kUnavailable, "stopped");
    }
    --allowed_;
    if (!good_) throw Error(ErrorCode::kInvalid, "no");
    store::EnvironmentBuild built;
    built.environment = wanted.environment;
    return built;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int allowed_ = 0;
  bool good_ = true;
};

}  // namespace

TEST_CASE("runs that want the same environment share one build") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  for (const char* run : {"a", "b", "c"}) builds.await(run, job(1));
  site.until([&] { return site.begun == 1; });
  builds.await("d", job(1));
  site.finish();
  site.until([&] { return site.ends.size() == 1; });
  CHECK(site.ends[0].runs == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(site.ends[0].build);
  CHECK(site.ends[0].warnings == std::vector<std::string>{"beware"});
  CHECK(site.begun == 1);
}

TEST_CASE("a build that fails is told to all who wait, and the next who asks builds again") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  builds.await("a", job(1));
  builds.await("b", job(1));
  site.finish(false);
  site.until([&] { return site.ends.size() == 1; });
  CHECK(site.ends[0].error->message() == "no");
  CHECK(site.ends[0].runs.size() == 2);
  builds.await("c", job(1));
  site.finish();
  site.until([&] { return site.ends.size() == 2; });
  CHECK(site.ends[1].build);
}

TEST_CASE("a build stops when its last run is withdrawn, not before") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  builds.await("a", job(1));
  builds.await("b", job(1));
  site.until([&] { return site.begun == 1; });
  CHECK(builds.withdraw("a"));
  CHECK_FALSE(builds.withdraw("a"));
  CHECK(site.stopped == 0);
  CHECK(builds.withdraw("b"));
  site.until([&] { return site.stopped == 1; });
  site.until([&] { return site.ends.size() == 1; });
  CHECK(site.ends[0].runs.empty());
}

TEST_CASE("one that begins after a stop does not join the build that is ending") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  builds.await("a", job(1));
  site.until([&] { return site.begun == 1; });
  builds.withdraw("a");
  builds.await("b", job(1));
  site.until([&] { return site.begun == 2; });
  site.finish();
  site.until([&] { return site.ends.size() == 2; });
  CHECK(site.ends[1].runs == std::vector<std::string>{"b"});
}

TEST_CASE("a lane builds one at a time, lanes do not wait for each other") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  builds.await("a", job(1));
  builds.await("b", job(2));
  builds.await("c", job(3, BuildLane::kConda));
  site.until([&] { return site.begun == 2; });
  CHECK(site.told["b"] == "waits for another environment's build");
  for (int i = 0; i < 3; ++i) site.finish();
  site.until([&] { return site.ends.size() == 3; });
}

TEST_CASE("what is to be resolved anew does not join a build that has begun") {
  Site site;
  EnvironmentBuilds builds(site.callbacks());
  BuildJob fresh = job(1);
  fresh.fresh = true;
  builds.await("a", fresh);
  site.until([&] { return site.begun == 1; });
  builds.await("b", fresh);
  builds.await("c", fresh);
  site.finish();
  site.until([&] { return site.begun == 2; });
  site.finish();
  site.until([&] { return site.ends.size() == 2; });
  CHECK(site.ends[0].runs == std::vector<std::string>{"a"});
  CHECK(site.ends[1].runs == std::vector<std::string>{"b", "c"});
}
