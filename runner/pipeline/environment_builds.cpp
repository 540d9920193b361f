#include "runner/pipeline/environment_builds.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <utility>

#include "runner/os/clock.hpp"

namespace runner::pipeline {
namespace {

constexpr std::array<const char*, kBuildLanes> kThreadNames{"build-venv", "build-conda", "build-image"};
constexpr std::chrono::milliseconds kBetweenLines{200};

bool same(const BuildJob& one, const BuildJob& other) {
  return one.lane == other.lane && one.environment == other.environment && one.lock == other.lock &&
         one.fresh == other.fresh && one.base == other.base && one.image == other.image && one.engine == other.engine;
}

}  // namespace

struct EnvironmentBuilds::Work {
  BuildJob job;
  std::set<std::string> runs;
  bool begun = false;
  std::atomic<bool> unwanted{false};
  std::filesystem::path directory;
  std::string line;  // of progress, the last
  std::vector<std::string> warnings;
};

class EnvironmentBuilds::Control : public BuildControl {
 public:
  Control(EnvironmentBuilds& builds, Work& work, const std::stop_token& stop)
      : builds_(builds), work_(work), stop_(stop) {}

  bool stopped() const override { return stop_.stop_requested() || work_.unwanted; }

  void progress(const std::string& line) override {
    // The first words of a step always, its figures now and then.
    const std::string step = line.substr(0, line.find(": "));
    const auto now = os::monotonic_now();
    if (step == step_ && now - told_ < kBetweenLines) return;
    step_ = step;
    told_ = now;
    std::vector<std::string> runs;
    {
      const std::lock_guard lock(builds_.mutex_);
      work_.line = line;
      runs.assign(work_.runs.begin(), work_.runs.end());
    }
    for (const std::string& run : runs) builds_.callbacks_.progress(run, line);
  }

  void warn(const std::string& text) override {
    const std::lock_guard lock(builds_.mutex_);
    work_.warnings.push_back(text);
  }

  void begins_in(const std::filesystem::path& directory) override {
    const std::lock_guard lock(builds_.mutex_);
    work_.directory = directory;
  }

 private:
  EnvironmentBuilds& builds_;
  Work& work_;
  const std::stop_token stop_;
  std::string step_;
  std::chrono::nanoseconds told_{};
};

EnvironmentBuilds::EnvironmentBuilds(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

EnvironmentBuilds::~EnvironmentBuilds() { stop(); }

void EnvironmentBuilds::stop() {
  for (std::jthread& thread : threads_) thread.request_stop();
  for (std::jthread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void EnvironmentBuilds::await(const std::string& run, BuildJob job) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    const auto lane = static_cast<std::size_t>(job.lane);
    // What is resolved anew must be resolved after it was asked for.
    const auto at = std::find_if(works_.begin(), works_.end(), [&](const auto& work) {
      return !work->unwanted && same(work->job, job) && !(job.fresh && work->begun);
    });
    if (at != works_.end()) {
      (*at)->runs.insert(run);
      line = (*at)->line;
    } else {
      const bool waits =
          std::any_of(works_.begin(), works_.end(), [&](const auto& work) { return work->job.lane == job.lane; });
      auto work = std::make_shared<Work>();
      work->job = std::move(job);
      work->runs.insert(run);
      work->line = waits ? "waits for another environment's build" : "begins to build the environment";
      line = work->line;
      works_.push_back(std::move(work));
    }
    if (!threads_[lane].joinable()) {
      threads_[lane] = std::jthread([this, lane](const std::stop_token& stop) { this->work(lane, stop); });
      ::pthread_setname_np(threads_[lane].native_handle(), kThreadNames[lane]);
    }
  }
  callbacks_.progress(run, line);
  wake_.notify_all();
}

bool EnvironmentBuilds::withdraw(const std::string& run) {
  const std::lock_guard lock(mutex_);
  for (auto at = works_.begin(); at != works_.end(); ++at) {
    Work& work = **at;
    if (work.runs.erase(run) == 0) continue;
    if (!work.runs.empty()) return true;
    work.unwanted = true;
    if (!work.begun) works_.erase(at);
    return true;
  }
  return false;
}

std::filesystem::path EnvironmentBuilds::directory_for(const std::string& run) const {
  const std::lock_guard lock(mutex_);
  for (const auto& work : works_)
    if (work->runs.contains(run)) return work->directory;
  return {};
}

void EnvironmentBuilds::work(std::size_t lane, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto next = [&] {
    return std::find_if(works_.begin(), works_.end(), [&](const auto& work) {
      return static_cast<std::size_t>(work->job.lane) == lane && !work->begun;
    });
  };
  while (wake_.wait(lock, stop, [&] { return next() != works_.end(); })) {
    if (stop.stop_requested()) return;
    const std::shared_ptr<Work> work = *next();
    work->begun = true;
    lock.unlock();
    BuildEnd end;
    Control control(*this, *work, stop);
    try {
      end.build = callbacks_.build(work->job, control);
    } catch (const Error& error) {
      end.error = error;
    } catch (const std::exception& error) {
      end.error = Error(ErrorCode::kInternal, error.what());
    }
    if (stop.stop_requested() && end.error) return;  // the next daemon begins again
    lock.lock();
    works_.remove(work);
    end.directory = work->directory;
    end.warnings = work->warnings;
    end.runs.assign(work->runs.begin(), work->runs.end());
    work->runs.clear();  // what comes afterwards is not told to them
    lock.unlock();
    callbacks_.ended(end);
    if (end.build) callbacks_.afterwards(work->job, *end.build, control);
    lock.lock();
  }
}

}  // namespace runner::pipeline
