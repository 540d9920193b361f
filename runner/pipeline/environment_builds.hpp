// Which environment is built next, and which runs wait for it. Runs that want the same thing share one build; there is
// one build at a time in each lane (a package cache has one writer). What a build does is not known here. Any thread.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "envs/builders.hpp"
#include "runner/core/error.hpp"
#include "store/environments.hpp"

namespace runner::pipeline {

enum class BuildLane { kVenv, kConda, kEngine };
inline constexpr std::size_t kBuildLanes = 3;

struct BuildJob {
  BuildLane lane = BuildLane::kVenv;
  Hash environment;
  std::optional<Hash> lock{};  // exactly this; with `fresh` never
  bool fresh = false;          // resolved anew, whatever is there
  std::string base{};          // kVenv: the interpreter it is made with
  std::string image{};         // conda in an image: its id
  std::string engine{};        // the Engine's socket
  envs::BuildSettings settings{};
};

// What a build under way has to do with the outside.
class BuildControl {
 public:
  virtual ~BuildControl() = default;
  virtual bool stopped() const = 0;                                    // nobody wants it any more, or the daemon ends
  virtual void progress(const std::string& line) = 0;                  // reaches every run that waits for it
  virtual void warn(const std::string& text) = 0;                      // recorded with every run that waits for it
  virtual void begins_in(const std::filesystem::path& directory) = 0;  // whose build.log may be followed
};

struct BuildEnd {
  std::vector<std::string> runs;  // that still wait; perhaps none
  std::optional<store::EnvironmentBuild> build;
  std::optional<Error> error;         // exactly one of the two
  std::vector<std::string> warnings;  // what the build has warned of
  std::filesystem::path directory;    // empty: it never began
};

class EnvironmentBuilds {
 public:
  struct Callbacks {
    // On the lane's thread. Throws Error when it fails.
    std::function<store::EnvironmentBuild(const BuildJob&, BuildControl&)> build;
    std::function<void(const std::string& run, const std::string& line)> progress;
    std::function<void(const BuildEnd&)> ended;  // must not throw; not called for a daemon that stops
    // Once the runs go on; the lane's next build waits for it. Must not throw.
    std::function<void(const BuildJob&, const store::EnvironmentBuild&, BuildControl&)> afterwards;
  };
  explicit EnvironmentBuilds(Callbacks callbacks);
  ~EnvironmentBuilds();
  // Ends the builds under way and the threads: what is not done is left for recovery.
  void stop();

  void await(const std::string& run, BuildJob job);
  // True: the run waited and does not any more. A build that nobody else wants ends.
  bool withdraw(const std::string& run);
  // Where the run's build is at work; empty: it waits for its turn, or for nothing.
  std::filesystem::path directory_for(const std::string& run) const;

 private:
  struct Work;
  class Control;
  void work(std::size_t lane, const std::stop_token& stop);

  const Callbacks callbacks_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable_any wake_;
  std::list<std::shared_ptr<Work>> works_;         // waiting and under way, oldest first
  std::array<std::jthread, kBuildLanes> threads_;  // started when first needed
};

}  // namespace runner::pipeline
