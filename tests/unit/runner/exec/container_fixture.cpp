#include "container_fixture.hpp"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

namespace runner::exec::test {

std::filesystem::path program_directory() {
  const char* elsewhere = std::getenv("RUNNER_TEST_BIN_DIR");
  return elsewhere != nullptr ? elsewhere : RUNNER_BIN_DIR;
}

void skip(const std::string& why) {
  const char* strict = std::getenv("RUNNER_STRICT");
  if (strict != nullptr && std::string(strict) == "1") FAIL("cannot run here: " + why);
  std::cerr << "skipped: " << why << "\n";
}

ScratchDirectory::ScratchDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "runner-exec-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  try {
    os::remove_tree(path_);
  } catch (const std::exception&) {
    // The test that left something behind has failed already.
  }
}

ContainerFixture::ContainerFixture(const std::string& runtime) : data_(scratch_.path() / "data") {
  os::make_directories(checkout(), 0755);
  std::ofstream(checkout() / "given.txt") << "as submitted\n";
  ::setenv("RUNNER_OCI_RUNTIME", runtime.c_str(), 1);
  sandbox_ = std::make_unique<Sandbox>(data_, program_directory() / "runner-shim", program_directory() / "runner-init",
                                       std::filesystem::path());
  ::unsetenv("RUNNER_OCI_RUNTIME");
}

bool ContainerFixture::works() {
  if (sandbox_->runtime()) return true;
  std::string why;
  for (const Check& check : sandbox_->checks())
    if (!check.works) why += (why.empty() ? std::string() : std::string("; ")) + check.name + ": " + check.detail;
  skip(why);
  return false;
}

SandboxRun ContainerFixture::shell(const std::string& script) {
  static std::atomic<int> counter{0};
  const std::string id = "test_" + std::to_string(::getpid()) + "_" + std::to_string(++counter);
  SandboxRun run{.id = id,
                 .directory = data_.run(id),
                 .layers = {checkout()},
                 .working_directory = "/home/tester/project",
                 .arguments = {"sh", "-c", script},
                 .variables = {{"PATH", "/usr/bin:/bin"}, {"HOME", "/home/tester"}, {"RUNNER_TEST_MARKER", id}},
                 .read_only_paths = {},
                 .cache_paths = {},
                 .mounts = {},
                 .home = "/home/tester",
                 .limits = {}};
  run.limits.grace = std::chrono::milliseconds(300);
  return run;
}

os::Child ContainerFixture::start(const SandboxRun& run) {
  os::make_directories(run.directory.root());
  sandbox_->prepare(run);
  return sandbox_->launch(run.directory);
}

Finished ContainerFixture::wait(const SandboxRun& run, const os::Child& child) const {
  constexpr std::chrono::seconds limit{60};  // a busy machine; runs take milliseconds
  pollfd watched{child.pidfd.get(), POLLIN, 0};
  const bool ended = ::poll(&watched, 1, static_cast<int>(std::chrono::milliseconds(limit).count())) > 0;
  if (!ended) ::kill(child.pid, SIGKILL);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!ended) throw std::runtime_error("the shim of " + run.id + " did not end in time");
  const auto record = shim::read_ended(run.directory);
  if (!record)
    throw std::runtime_error("no exit.json: " +
                             os::read_file_if_exists(run.directory.runtime_log()).value_or("no runtime.log"));
  return {record->outcome, os::read_file_if_exists(run.directory.log()).value_or("")};
}

void ContainerFixture::wait_for_log(const SandboxRun& run, const std::string& text) const {
  const auto deadline = os::monotonic_now() + std::chrono::seconds(20);
  while (os::read_file_if_exists(run.directory.log()).value_or("").find(text) == std::string::npos) {
    if (os::monotonic_now() > deadline) throw std::runtime_error("run " + run.id + " never printed " + text);
    ::poll(nullptr, 0, 2);
  }
}

std::vector<int> processes_of(const SandboxRun& run) {
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    int pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    std::ifstream environment(entry.path() / "environ", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(environment)), {});
    if (text.find("RUNNER_TEST_MARKER=" + run.id + '\0') != std::string::npos) found.push_back(pid);
  }
  return found;
}

}  // namespace runner::exec::test
