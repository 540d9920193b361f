#include "runner/cli/follow.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runner/cli/document.hpp"
#include "runner/cli/log_display.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

constexpr std::chrono::milliseconds kSecondPress{2'000};  // cli.md

// The handler's only way to say something; -1 while no guard lives. A descriptor, so that poll() hears it without a
// race.
volatile sig_atomic_t interrupt_event = -1;

void on_interrupt(int) {
  const int saved = errno;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t wrote = ::write(static_cast<int>(interrupt_event), &one, sizeof one);
  errno = saved;
}

bool interrupted() {
  pollfd polled{static_cast<int>(interrupt_event), POLLIN, 0};
  return interrupt_event >= 0 && ::poll(&polled, 1, 0) > 0;
}

// Counts in `offset` what really went out, so that a reconnect continues exactly there.
void write_counted(int fd, std::span<const std::byte> bytes, std::int64_t& offset) {
  while (!bytes.empty()) {
    // A reader that pauses (less, Ctrl-S) must not keep Ctrl-C from being heard.
    std::array<pollfd, 2> polled{pollfd{fd, POLLOUT, 0}, pollfd{static_cast<int>(interrupt_event), POLLIN, 0}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) throw errno_error(errno, "poll");
    if (polled[1].revents != 0) throw http::Interrupted{};
    if (polled[0].revents == 0) continue;
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (wrote < 0 && errno == EPIPE) throw OutputClosed{};
    if (wrote < 0) throw errno_error(errno, "write the log");
    offset += wrote;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

namespace {

void follow_stream(Session& session, FollowedLog& log, const std::string& parameters) {
  std::optional<LogDisplay> display;
  if (!log.raw && ::isatty(log.output) == 1) display.emplace(terminal_width(log.output), true);
  const auto show = [&](const std::string& text) {
    std::int64_t shown = 0;
    write_counted(log.output, std::as_bytes(std::span(text)), shown);
  };
  const WriteSome write = [&](std::span<const std::byte> piece) {
    if (!display) return write_counted(log.output, piece, log.offset);
    log.offset += static_cast<std::int64_t>(piece.size());
    show(display->take({reinterpret_cast<const char*>(piece.data()), piece.size()}));
  };
  for (;;) {
    try {
      http::Client& client = session.client();
      // From then on it is known where the last lines began.
      client.tell_offset([&log](std::int64_t offset) {
        if (log.tail) log.offset = offset;
        log.tail.reset();
      });
      const std::string from =
          log.tail ? "&tail=" + std::to_string(*log.tail) : "&offset=" + std::to_string(log.offset);
      client.stream("GET", run_target(log.run, "/log?follow=1" + from + parameters), write);
      client.tell_offset({});
      if (display) show(display->finish());
      return;
    } catch (const http::ConnectionLost&) {
      session.reconnect();
    } catch (const http::Interrupted&) {
      if (display) print_error(display->finish());  // the styles that are on end
      throw;
    }
  }
}

int attempt_of(const Json& run) { return static_cast<int>(number_at(run, "attempt").value_or(1)); }

// Why the attempt ended that was followed so far.
std::string reason_of(const Json& run, int attempt) {
  for (const Json& earlier : member(run, "earlierAttempts"))
    if (attempt_of(earlier) == attempt) return text_at(earlier, "reason");
  return {};
}

}  // namespace

void follow_log(Session& session, FollowedLog log) {
  if (!log.file.empty()) return follow_stream(session, log, "&name=" + http::percent_encode(log.file));
  if (log.attempt == 0) log.attempt = attempt_of(parse_document(session.get_patiently(run_target(log.run))));
  for (;;) {
    follow_stream(session, log, "&attempt=" + std::to_string(log.attempt));
    const Json run = parse_document(session.get_patiently(run_target(log.run)));
    if (attempt_of(run) <= log.attempt) return;
    print_error("runner: attempt " + std::to_string(log.attempt) + " " + printable(reason_of(run, log.attempt)) +
                "; the run starts again\n");
    ++log.attempt;
    log.offset = 0;
    if (log.attempt == attempt_of(run)) follow_progress(session, log.run);
  }
}

namespace {

constexpr std::chrono::seconds kBetweenLines{5};

class ProgressLine {
 public:
  ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() {
    if (shown_) print_error(kErase);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void take(std::span<const std::byte> piece) {
    rest_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    std::string line;  // of several that came at once the last says all
    for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
      line = rest_.substr(0, end);
      rest_.erase(0, end + 1);
    }
    if (!line.empty()) show(line);
  }

 private:
  static constexpr const char* kErase = "\r\033[K";

  void show(const std::string& line) {
    const auto now = std::chrono::steady_clock::now();
    if (terminal_) {
      print_error(kErase + shortened("runner: " + printable(line), width_));
      shown_ = true;
    } else if (const std::string what = line.substr(0, line.find(": "));
               what != what_ || now - told_ >= kBetweenLines) {
      print_error("runner: " + printable(line) + "\n");
      told_ = now;
      what_ = what;
    }
  }

  static std::size_t width() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - std::size_t{1} : 79;
  }

  const bool terminal_;
  const std::size_t width_ = width();
  std::string rest_;
  bool shown_ = false;
  std::string what_;  // was told last, without its figures
  std::chrono::steady_clock::time_point told_{};
};

}  // namespace

void follow_progress(Session& session, const std::string& run) {
  ProgressLine line;
  for (;;) {
    try {
      return session.client().stream("GET", run_target(run, "/progress"),
                                     [&line](std::span<const std::byte> piece) { line.take(piece); });
    } catch (const http::ConnectionLost&) {
      session.reconnect();
    }
  }
}

InterruptGuard::InterruptGuard(Session& session) : session_(session) {
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) throw errno_error(errno, "eventfd");
  interrupt_event = event;
  struct sigaction action {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a blocked write returns
  ::sigaction(SIGINT, &action, nullptr);
  session_.interrupt_on(event);
}

InterruptGuard::~InterruptGuard() {
  session_.interrupt_on(-1);
  ::signal(SIGINT, SIG_DFL);
  ::close(static_cast<int>(interrupt_event));
  interrupt_event = -1;
}

bool InterruptGuard::pressed_again() {
  std::uint64_t count = 0;
  static_cast<void>(::read(static_cast<int>(interrupt_event), &count, sizeof count));
  if (count > 1) return true;
  pollfd polled{static_cast<int>(interrupt_event), POLLIN, 0};
  while (::poll(&polled, 1, static_cast<int>(kSecondPress.count())) < 0 && errno == EINTR && !interrupted()) {
  }
  return interrupted();
}

}  // namespace runner::cli
