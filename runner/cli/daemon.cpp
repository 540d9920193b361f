// daemon start, stop, status, logs.
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>

#include "runner/cli/autostart.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::cli {
namespace {

// A daemon that ends leaves its requests and writers a bounded time; canceled runs get their grace on top.
constexpr std::chrono::milliseconds kStopLimit{30'000};
constexpr std::chrono::milliseconds kStopLimitWithRuns{180'000};

Error no_daemon(const Place& place) {
  return Error(ErrorCode::kNotFound, "no daemon runs on " + place.home.string(), "'runner daemon start' starts one");
}

std::string description(const Json& daemon) {
  return "pid " + scalar_text(member(daemon, "pid")) + ", version " + text_at(daemon, "version") + ", home " +
         text_at(daemon, "home") + ", since " + text_at(daemon, "startedTimeUtc");
}

void await_end(const os::Fd& process, std::chrono::milliseconds limit, pid_t pid) {
  pollfd ended{process.get(), POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&ended, 1, static_cast<int>(limit.count()));
  } while (count < 0 && errno == EINTR);
  if (count == 0)
    throw Error(ErrorCode::kUnavailable,
                "stop the daemon: process " + std::to_string(pid) + " still runs after " +
                    std::to_string(limit.count() / 1000) + " s",
                "'runner daemon logs' may say why");
}

}  // namespace

int run(Session& session, const DaemonStartOptions&) {
  auto client = try_connect(session.place());
  const bool ran_already = client != nullptr;
  if (!client) client = start_and_connect(session.place());
  const std::string answer = client->call("GET", "/v1/daemon").body;
  if (session.json())
    print(json_text(answer));
  else
    print(std::string(ran_already ? "the daemon runs already: " : "the daemon runs: ") +
          printable(description(parse_document(answer))) + "\n");
  return 0;
}

int run(Session& session, const DaemonStatusOptions&) {
  const auto client = try_connect(session.place());
  if (!client) throw no_daemon(session.place());
  const std::string answer = client->call("GET", "/v1/daemon").body;
  print(session.json() ? json_text(answer)
                       : "the daemon runs: " + printable(description(parse_document(answer))) + "\n");
  return 0;
}

int run(Session& session, const DaemonStopOptions& options) {
  const auto client = try_connect(session.place());
  if (!client) {
    print(session.json() ? "{\"stopped\":false}\n" : "no daemon runs\n");
    return 0;
  }
  const Json daemon = parse_document(client->call("GET", "/v1/daemon").body);
  const auto pid = static_cast<pid_t>(number_at(daemon, "pid").value_or(0));
  // Held before the request: afterwards the number might already be somebody else's.
  const auto identity = os::identify(pid);
  const auto process = identity ? os::open_process(*identity) : std::nullopt;
  client->call("POST", "/v1/daemon/stop", options.cancel_runs ? R"({"cancelRuns":true})" : R"({"cancelRuns":false})");
  if (process) await_end(*process, options.cancel_runs ? kStopLimitWithRuns : kStopLimit, pid);
  print(session.json() ? "{\"stopped\":true,\"pid\":" + std::to_string(pid) + "}\n" : "the daemon has stopped\n");
  return 0;
}

int run(Session& session, const DaemonLogsOptions&) {
  constexpr std::size_t kLimit = std::size_t{1} << 30;  // a log of more than a gigabyte is read with other tools
  const auto path = os::DataDirectory(session.place().home).daemon_log();
  const auto text = os::read_file_if_exists(path, kLimit);
  if (!text) throw Error(ErrorCode::kNotFound, "daemon log " + path.string() + ": there is none yet");
  print(session.json() ? dump_document({{"path", path.string()}, {"text", *text}}) + "\n" : *text);
  return 0;
}

}  // namespace runner::cli
