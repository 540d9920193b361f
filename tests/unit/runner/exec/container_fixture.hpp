// Real containers for the tests: a private data directory with one checkout, and runs in it through Sandbox and
// runner-shim.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runner/exec/sandbox.hpp"
#include "runner/shim/records.hpp"

namespace runner::exec::test {

// Where runner-shim and runner-init lie: RUNNER_TEST_BIN_DIR, else the build's.
std::filesystem::path program_directory();

// Prints why a test cannot run here; with RUNNER_STRICT=1 that is a failure.
void skip(const std::string& why);

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
  explicit ContainerFixture(const std::string& runtime);

  bool works();  // false after a skip(): this runtime does not work here

  // A run of `sh -c script` over the checkout; change what you need before start().
  SandboxRun shell(const std::string& script);
  os::Child start(const SandboxRun& run);
  Finished wait(const SandboxRun& run, const os::Child& child) const;
  Finished finish(const SandboxRun& run) { return wait(run, start(run)); }
  // Until the log holds `text`; a run that never prints it fails the test.
  void wait_for_log(const SandboxRun& run, const std::string& text) const;

  const os::DataDirectory& data() const { return data_; }
  std::filesystem::path place(const std::string& name) const { return scratch_.path() / name; }
  std::filesystem::path checkout() const { return place("checkout"); }
  Sandbox& sandbox() { return *sandbox_; }

 private:
  ScratchDirectory scratch_;
  os::DataDirectory data_;
  std::unique_ptr<Sandbox> sandbox_;
};

// Host processes whose environment holds the marker of this run: how a test sees that nothing of it survived.
std::vector<int> processes_of(const SandboxRun& run);

}  // namespace runner::exec::test
