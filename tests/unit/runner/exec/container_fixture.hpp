// Real containers for the tests: a private data directory with one checkout, and runs in it through Sandbox and runner-shim.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "runner/exec/sandbox.hpp"
#include "runner/shim/records.hpp"

namespace runner::exec::test {

// The binaries under test lie beside each other in RUNNER_BIN_DIR.
inline std::filesystem::path shim_program() { return std::filesystem::path(RUNNER_BIN_DIR) / "runner-shim"; }
inline std::filesystem::path init_program() { return std::filesystem::path(RUNNER_BIN_DIR) / "runner-init"; }

// A directory of its own below TMPDIR, removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Finished {
  Outcome outcome;
  std::string log;
};

class ContainerFixture {
 public:
  ContainerFixture();

  // A run of `sh -c script` over the checkout; change what you need before start().
  SandboxRun shell(const std::string& id, const std::string& script) const;
  os::Child start(const SandboxRun& run);
  Finished wait(const SandboxRun& run, const os::Child& child, std::chrono::seconds limit = std::chrono::seconds(30)) const;
  Finished finish(const SandboxRun& run) { return wait(run, start(run)); }
  // Until the log holds `text`; a run that never prints it fails the test.
  void wait_for_log(const SandboxRun& run, const std::string& text) const;

  const os::DataDirectory& data() const { return data_; }
  std::filesystem::path checkout() const { return scratch_.path() / "checkout"; }
  Sandbox& sandbox() { return sandbox_; }

 private:
  ScratchDirectory scratch_;
  os::DataDirectory data_;
  Sandbox sandbox_;
};

// Host processes whose environment holds `marker`: how a test sees that nothing of a run survived.
std::vector<int> processes_with(const std::string& marker);

}  // namespace runner::exec::test
