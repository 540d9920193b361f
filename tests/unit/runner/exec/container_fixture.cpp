#include "container_fixture.hpp"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <stdexcept>

#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"

namespace runner::exec::test {

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

ContainerFixture::ContainerFixture()
    : data_(scratch_.path() / "data"), sandbox_(data_, shim_program(), init_program(), std::filesystem::path()) {
  os::make_directories(checkout(), 0755);
  std::ofstream(checkout() / "given.txt") << "as submitted\n";
}

SandboxRun ContainerFixture::shell(const std::string& id, const std::string& script) const {
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
  sandbox_.prepare(run);
  return sandbox_.launch(run.directory);
}

Finished ContainerFixture::wait(const SandboxRun& run, const os::Child& child, std::chrono::seconds limit) const {
  pollfd watched{child.pidfd.get(), POLLIN, 0};
  const bool ended = ::poll(&watched, 1, static_cast<int>(std::chrono::milliseconds(limit).count())) > 0;
  if (!ended) ::kill(child.pid, SIGKILL);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!ended) throw std::runtime_error("the shim of " + run.id + " did not end in time");
  const auto record = shim::read_ended(run.directory);
  if (!record)
    throw std::runtime_error("no exit.json: " + os::read_file_if_exists(run.directory.runtime_log()).value_or("no runtime.log"));
  return {record->outcome, os::read_file_if_exists(run.directory.log()).value_or("")};
}

void ContainerFixture::wait_for_log(const SandboxRun& run, const std::string& text) const {
  const auto deadline = os::monotonic_now() + std::chrono::seconds(20);
  while (os::read_file_if_exists(run.directory.log()).value_or("").find(text) == std::string::npos) {
    if (os::monotonic_now() > deadline) throw std::runtime_error("run " + run.id + " never printed " + text);
    ::poll(nullptr, 0, 2);
  }
}

std::vector<int> processes_with(const std::string& marker) {
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    int pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    std::ifstream environment(entry.path() / "environ", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(environment)), {});
    if (text.find("RUNNER_TEST_MARKER=" + marker + '\0') != std::string::npos) found.push_back(pid);
  }
  return found;
}

}  // namespace runner::exec::test
