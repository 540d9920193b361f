// Command lines of foreign processes, read by a child that may be given up (last_look.hpp).
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"
#include "runner/shim/last_look.hpp"

namespace runner::shim {
namespace {

constexpr std::size_t kMostBytes = 240;  // of one; a page shows less

struct Line {
  std::uint32_t index;
  std::uint32_t size;
  std::array<char, kMostBytes> bytes;
};

// The child: only system calls, for its memory is the copy of a process that may have been anywhere.
[[noreturn]] void read_all(std::span<const pid_t> pids, int pipe) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Nothing of the shim may outlive it here, its lifeline to init least of all.
  constexpr int kPipe = 3;
  if (pipe != kPipe && ::dup2(pipe, kPipe) < 0) ::_exit(1);
  ::close_range(kPipe + 1, ~0U, 0);
  Line line{};
  for (; line.index < pids.size(); ++line.index) {
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "/proc/%d/cmdline", pids[line.index]);
    const int file = ::open(name.data(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = file < 0 ? 0 : ::read(file, line.bytes.data(), line.bytes.size());
    if (file >= 0) ::close(file);
    line.size = got > 0 ? static_cast<std::uint32_t>(got) : 0;
    if (::write(kPipe, &line, sizeof line) != static_cast<ssize_t>(sizeof line)) break;
  }
  ::_exit(0);
}

std::string text_of(const Line& line) {
  std::string text(line.bytes.data(), std::min<std::size_t>(line.size, kMostBytes));
  while (!text.empty() && text.back() == 0) text.pop_back();
  for (char& c : text)
    if (c == 0) c = ' ';
  return text;
}

}  // namespace

std::vector<std::string> read_command_lines(std::span<const pid_t> pids, std::chrono::milliseconds limit) {
  std::vector<std::string> lines(pids.size());
  std::array<int, 2> pipe{};
  if (pids.empty() || ::pipe2(pipe.data(), O_CLOEXEC) != 0) return lines;
  const os::Fd reading(pipe[0]);
  os::Fd writing(pipe[1]);
  const pid_t child = ::fork();
  if (child == 0) read_all(pids, writing.get());
  writing.reset();
  if (child < 0) return lines;
  const auto deadline = os::monotonic_now() + limit;
  for (bool more = true; more;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - os::monotonic_now());
    pollfd ready{reading.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) break;
    Line line{};
    const ssize_t got = ::read(reading.get(), &line, sizeof line);
    more = got == static_cast<ssize_t>(sizeof line);  // the pipe takes whole ones: they are smaller than PIPE_BUF
    if (more && line.index < lines.size()) lines[line.index] = text_of(line);
  }
  ::kill(child, SIGKILL);
  // It dies at once unless the kernel itself is stuck; then the supervisor reaps it when it can.
  constexpr int kPatience = 20;  // milliseconds
  for (int i = 0; i < kPatience && ::waitpid(child, nullptr, WNOHANG) == 0; ++i) ::poll(nullptr, 0, 1);
  return lines;
}

}  // namespace runner::shim
