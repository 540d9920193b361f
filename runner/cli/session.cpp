#include "runner/cli/session.hpp"

#include <poll.h>

#include <chrono>

#include "runner/cli/autostart.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::cli {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kStoppedPatience{30};  // `daemon stop && daemon start`, an upgrade
constexpr milliseconds kAskAgain{200};                // between attempts while there is no daemon, or a busy one

// A pause that Ctrl-C ends.
void pause(int interrupt_fd) {
  pollfd polled{interrupt_fd, POLLIN, 0};
  if (::poll(&polled, 1, static_cast<int>(kAskAgain.count())) > 0) throw http::Interrupted{};
}

}  // namespace

Session::Session(const GlobalOptions& options) : options_(options), place_(place_of(options)) {}

void Session::use(std::unique_ptr<http::Client> client) {
  client_ = std::move(client);
  client_->interrupt_on(interrupt_fd_);
}

http::Client& Session::client() {
  if (client_) return *client_;
  auto client = try_connect(place_);
  if (!client && options_.no_autostart)
    throw Error(ErrorCode::kUnavailable, "no daemon listens on " + place_.socket.string(),
                "start it with 'runner daemon start', or leave out --no-autostart");
  use(client ? std::move(client) : start_and_connect(place_));
  return *client_;
}

std::string Session::get(std::string_view target) {
  try {
    return client().call("GET", target).body;
  } catch (const http::ConnectionLost&) {
    client_.reset();  // the daemon ended just then; asking the next one does no harm
    return client().call("GET", target).body;
  }
}

std::string Session::post(std::string_view target, std::string_view body) {
  return client().call("POST", target, body).body;
}

std::string Session::remove(std::string_view target) { return client().call("DELETE", target).body; }

std::string Session::post_with_notices(const std::string& target, std::string_view body) {
  client().tell_notices([](const std::string& notice) { print_error("runner: warning: " + printable(notice) + "\n"); });
  return post(target + "?notices=1", body);
}

std::string Session::get_patiently(std::string_view target) {
  for (;;) {
    try {
      return client().call("GET", target).body;
    } catch (const http::ConnectionLost&) {
      reconnect();
    } catch (const Error& error) {
      // "The daemon is stopping", "too many connections": the answer is still to come, from this daemon or the next.
      if (error.code() != ErrorCode::kUnavailable || !client_) throw;
      pause(interrupt_fd_);
      if (!try_connect(place_)) reconnect();
    }
  }
}

void Session::reconnect() {
  client_.reset();
  if (auto client = try_connect(place_)) return use(std::move(client));  // only the connection was lost
  if (how_daemon_ended(place_) == DaemonEnd::kDied && !options_.no_autostart) {
    print_error("runner: the daemon died; starting it again\n");
    return use(start_and_connect(place_));
  }
  print_error("runner: the daemon was stopped; waiting for it to come back (the run goes on)\n");
  const auto deadline = os::monotonic_now() + kStoppedPatience;
  while (os::monotonic_now() < deadline) {
    if (auto client = try_connect(place_)) return use(std::move(client));
    pause(interrupt_fd_);
  }
  throw Error(ErrorCode::kUnavailable, "the daemon was stopped and did not come back; the run goes on",
              "'runner logs -f RUN' or 'runner wait RUN' starts it and continues");
}

void Session::interrupt_on(int fd) {
  interrupt_fd_ = fd;
  if (client_) client_->interrupt_on(fd);
}

std::string run_target(std::string_view run, std::string_view rest) {
  return "/v1/runs/" + http::percent_encode(run) + std::string(rest);
}

std::string snapshot_target(std::string_view snapshot, std::string_view rest) {
  return "/v1/snapshots/" + http::percent_encode(snapshot) + std::string(rest);
}

std::string environment_target(std::string_view environment, std::string_view rest) {
  return "/v1/environments/" + http::percent_encode(environment) + std::string(rest);
}

}  // namespace runner::cli
