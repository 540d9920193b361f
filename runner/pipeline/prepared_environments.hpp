// The environments that are built: on this disk below envs/, or as images in an Engine. Found again only while they are
// still what was built; made in place and published by a row, so that what a crash leaves half done is nobody's.
//
//   envs/<16 digits of the identity>-<n>/prefix        the environment
//                                        build.log     of its build; followed while it lasts, an artifact of the runs
//                                                      that waited for it afterwards
//                                        scratch/      gone when the build ends
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "envs/lock.hpp"
#include "envs/specification.hpp"
#include "runner/exec/engine_containers.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/pipeline/environment_builds.hpp"
#include "store/environments.hpp"

namespace runner::pipeline {

class PreparedEnvironments {
 public:
  struct Limits {
    std::chrono::milliseconds build;  // the longest that one may take
    std::string conda_client;         // of the configuration; may be empty
  };
  PreparedEnvironments(const os::DataDirectory& data, store::Environments& rows, const envs::InterpreterProbe& probe,
                       const exec::EngineContainers& containers, Limits limits);

  struct Wanted {
    Hash environment;
    std::string engine{};                 // the run's Engine: an image of another one will not do
    std::optional<Hash> lock{};           // exactly this; else what the environment means now
    std::optional<UtcTime> not_before{};  // built since then
  };
  // The newest that will do and is intact. One that was changed or removed behind our back is forgotten. Starts no
  // process; asks an Engine for images only.
  std::optional<store::EnvironmentBuild> find(const Wanted& wanted);
  // The same, and it stays as long as the run has not released it.
  std::optional<store::EnvironmentBuild> acquire(const Wanted& wanted, const std::string& run);
  void release(const std::string& run);

  // Builds and publishes; EnvironmentBuilds' callback.
  store::EnvironmentBuild build(const BuildJob& job, BuildControl& control);
  // After `build` has ended and its log was kept: what an unpublished one left is removed.
  void settle(const BuildEnd& end);
  // Copies what a published one is made of, so that it can be built again without a network; EnvironmentBuilds'
  // callback.
  void stock(const BuildJob& job, const store::EnvironmentBuild& build, BuildControl& control);

  std::filesystem::path prefix_of(const store::EnvironmentBuild& build) const;
  std::filesystem::path log_in(const std::filesystem::path& directory) const { return directory / "build.log"; }

  // Removes one, and says how many bytes are free now: none where an image has other names. Nothing, and it stays: a
  // run has acquired it. Error(kConflict), and it stays: a container in the Engine uses its image.
  std::optional<std::int64_t> remove(const store::EnvironmentBuild& build);
  // Directories that no row names and no build is at work in: of builds that were interrupted, or of forgotten ones.
  // Not those of `unfinished` runs.
  std::vector<std::filesystem::path> orphans(const std::vector<RunRecord>& unfinished) const;

 private:
  std::int64_t remove_image(const store::EnvironmentBuild& build) const;
  bool is_intact(const store::EnvironmentBuild& build) const;
  std::filesystem::path new_directory(const Hash& environment);
  envs::BuildConsole::Options console_options(const std::filesystem::path& directory, const envs::Specification& wanted,
                                              const BuildJob& job, BuildControl& control) const;
  envs::BuildSettings settings_for(const envs::Specification& wanted, const BuildJob& job) const;

  const os::DataDirectory data_;
  store::Environments& rows_;
  const envs::InterpreterProbe& probe_;
  const exec::EngineContainers& containers_;
  const Limits limits_;
  mutable std::mutex mutex_;  // guards what follows
  struct Use {
    std::int64_t build = 0;
    std::string directory{};
  };
  std::map<std::string, Use> users_;  // by run
  std::set<std::string> building_;    // directories below envs/, until a row names them or they are gone
  std::set<std::int64_t> removing_;   // builds that nobody may acquire any more
};

}  // namespace runner::pipeline
