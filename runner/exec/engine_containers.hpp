// The second isolation: a container of the Docker Engine. Here a run becomes an order for runner-engine
// (container.json) and a shim; the shim does the rest, as in the sandbox. Any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/engine/engine.hpp"
#include "runner/exec/bundle.hpp"
#include "runner/exec/gpus.hpp"
#include "runner/exec/sandbox.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/process.hpp"

namespace runner::exec {

// What of an image a run must know before its container exists.
struct ImageFacts {
  std::string id;                                  // "sha256:…"
  std::map<std::string, std::string> environment;  // ENV
  std::string passwd;                              // /etc/passwd; empty: none
};

// Everything an Engine's container needs of one run; paths are absolute.
struct EngineRun {
  std::string id;
  int attempt = 1;
  os::RunDirectory directory;
  std::vector<std::filesystem::path> layers;  // checkouts, uppermost first; empty: directory.copy() is bound instead
  std::string working_directory;
  std::vector<std::string> candidates;  // programs of which the first that exists runs the arguments; may be empty
  std::vector<std::string> arguments;
  std::map<std::string, std::string> variables;  // the whole environment
  std::string home;
  RunDefinition definition;
  ImageFacts image;
  std::vector<std::string> read_only_paths{};  // of the host, bound at their own paths
  std::vector<Gpu> gpus{};                     // that it has
  std::filesystem::path api{};                 // as SandboxRun::api
};

class EngineContainers {
 public:
  EngineContainers(BundleHost host, std::filesystem::path shim, std::filesystem::path helper);

  // The Engine at `socket`; what it says of itself is asked once while it lives. One object per thread.
  engine::Engine engine(const std::filesystem::path& socket) const;

  // As Sandbox::unenforceable.
  std::vector<UnenforcedLimit> unenforceable(engine::Engine& engine, const RunDefinition& definition) const;
  // Before the run exists. Error(kInvalid) for more CPUs than the engine has and for a --mount that cannot be.
  void refuse_impossible(engine::Engine& engine, const RunDefinition& definition) const;

  // Of containers that somebody else makes for this daemon: the next one removes what it has left.
  std::vector<std::string> own_labels() const;

  // The daemon is stopping: from `patience` on no call to an engine, by any thread, lasts longer than a second.
  void stop_waiting(std::chrono::milliseconds patience);

  // Looks into an image (a container that never starts, once per image and daemon).
  ImageFacts look_into(engine::Engine& engine, const engine::Image& image) const;
  // Whether the image has files of its own at an absolute path. Remembered.
  bool occupies(engine::Engine& engine, const engine::Image& image, const std::string& path) const;
  // Whether its working directory can be an overlay of the checkouts; else a copy has to do.
  static bool mounts_overlays(const engine::EngineFacts& facts) { return !facts.podman; }

  // Writes container.json and spec.json. Idempotent until a shim has claimed the run. Error(kInvalid) for a --mount
  // that has become impossible since the run was submitted.
  void prepare(const EngineRun& run, const engine::EngineFacts& facts) const;
  // As Sandbox::launch. `secrets`: a memfd for runner-init, or -1.
  os::Child launch(const os::RunDirectory& directory, int secrets) const;

  // Removes the run's containers and volumes, running or not. Nothing to do, and true, for a run that had no container.
  // False if there was none and nothing says that there has been one: what a killed runner-engine has asked for may
  // still be on its way, so look again a little later. Error in the Engine's words, or if it does not answer.
  bool remove_remains(const std::string& id) const;

  // For `runner doctor`.
  Check check(const std::map<std::string, std::string>& caller_variables) const;

 private:
  struct Memory;
  BundleHost host_;
  std::filesystem::path shim_;
  std::filesystem::path helper_;
  std::unique_ptr<Memory> memory_;

 public:
  ~EngineContainers();
};

}  // namespace runner::exec
