#include "runner/daemon/daemon.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/daemon/run_routes.hpp"
#include "runner/exec/place_checks.hpp"
#include "runner/os/cgroup.hpp"
#include "runner/os/file.hpp"

namespace runner::daemon {
namespace {

constexpr auto kCancelPatience = std::chrono::seconds{60};  // `stop --cancel-runs`: grace of the runs and some more

os::Fd lock_home(const os::DataDirectory& data) {
  os::Fd lock = os::open_file(data.lock(), O_RDWR | O_CREAT, 0600);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) throw errno_error(errno, "lock " + data.lock().string());
  std::string owner = os::read_file_if_exists(data.lock()).value_or("");
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  throw Error(
      ErrorCode::kConflict,
      "home " + data.home().string() + ": a daemon already runs here" + (owner.empty() ? "" : " (pid " + owner + ")"),
      "use it, or stop it with `runner daemon stop`");
}

void make_home(const std::filesystem::path& home) {
  os::make_directories(home, 0700);
  struct ::stat info {};
  if (::stat(home.c_str(), &info) != 0) throw errno_error(errno, "home " + home.string());
  if (info.st_uid != ::getuid())
    throw Error(ErrorCode::kPermission, "home " + home.string() + ": belongs to another user",
                "choose one of your own with --home or RUNNER_HOME");
  if ((info.st_mode & 077) != 0 && ::chmod(home.c_str(), 0700) != 0) throw errno_error(errno, "chmod " + home.string());
}

// Signals that end the daemon arrive on a descriptor; the rest of the process never sees them.
os::Fd end_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  os::Fd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd) throw errno_error(errno, "signalfd", ErrorCode::kUnavailable);
  return fd;
}

// What scripts ask of their own runs. Named through a descriptor: the address of a socket has 107 bytes, the path of a
// home may have more. A home where there can be no socket, or no room for one, still has its daemon.
struct RunSocket {
  os::Fd directory;
  std::unique_ptr<HttpServer> server;
};

RunSocket serve_runs(const os::DataDirectory& data, const RunRoutes& routes) {
  RunSocket socket;
  try {
    socket.directory = os::open_file(data.api(), O_PATH | O_DIRECTORY);
    socket.server = std::make_unique<HttpServer>(
        "/proc/self/fd/" + std::to_string(socket.directory.get()) + "/" + os::DataDirectory::kApiSocket,
        [&routes](const http::Request& request, Exchange& exchange) { routes.handle(request, exchange); },
        RunRoutes::limits(),
        ServerAccess{.owner_of = [&routes](std::string_view authorization) { return routes.owner_of(authorization); }});
  } catch (const Error& error) {
    spdlog::warn("scripts cannot ask about their runs: {}", error.message());
  }
  return socket;
}

}  // namespace

void run_daemon(const DaemonOptions& options, const std::function<void()>& ready) {
  ::umask(077);
  const os::Fd signals = end_signals();
  const os::DataDirectory data(options.home);
  make_home(data.home());
  const exec::PlaceFacts place = exec::look_at_place(data.home(), true);
  if (const auto unfit = exec::unfit_place(place)) throw *unfit;
  if (const exec::Check check = exec::check_file_system(place); !check.works)
    spdlog::warn("{}: {}", check.detail, check.remedy);
  const os::Fd lock = lock_home(data);
  const std::string pid = std::to_string(::getpid());
  // Over what stands there: a full disk gives back no block that was let go.
  os::write_all(lock.get(), pid + "\n", data.lock().string());
  if (::ftruncate(lock.get(), static_cast<off_t>(pid.size() + 1)) != 0)
    throw errno_error(errno, "write " + data.lock().string());

  const auto socket = options.socket.value_or(data.control_socket());
  const api::DaemonFacts facts{.pid = ::getpid(),
                               .home = data.home().string(),
                               .socket = socket.string(),
                               .version = RUNNER_VERSION,
                               .started = utc_now()};
  if (const auto why = os::delegate_to_runs()) spdlog::warn("limits of runs cannot be enforced: {}", *why);
  const pipeline::Configuration configuration = pipeline::load_configuration(pipeline::default_configuration_file());
  pipeline::Pipeline pipeline(data, configuration);

  const os::Fd stop_event(::eventfd(0, EFD_CLOEXEC));
  std::atomic<bool> cancel_runs{false};
  Routes routes(pipeline, facts, [&](bool cancel) {
    cancel_runs = cancel;
    constexpr std::uint64_t kOne = 1;
    [[maybe_unused]] const ssize_t wrote = ::write(stop_event.get(), &kOne, sizeof kOne);
  });
  const RunRoutes run_routes(pipeline);
  {
    const RunSocket run_socket = serve_runs(data, run_routes);
    HttpServer server(socket,
                      [&](const http::Request& request, Exchange& exchange) { routes.handle(request, exchange); });
    try {
      os::publish_file(data.daemon_record(), api::daemon_document(facts) + "\n", os::Durability::kAtomic);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNoSpace) throw;
      spdlog::warn("{}", error.message());  // it is for people: the daemon serves on a full disk, too
    }
    spdlog::info("runnerd {} serves {} (pid {})", facts.version, socket.string(), facts.pid);
    ready();

    std::array<pollfd, 2> waiting{pollfd{signals.get(), POLLIN, 0}, pollfd{stop_event.get(), POLLIN, 0}};
    while (::poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
    }
    if (cancel_runs) pipeline.cancel_all("the daemon was stopped with --cancel-runs", kCancelPatience);
    spdlog::info("runnerd stops; live runs go on");
    pipeline.begin_stop();  // the servers wait for who is being answered
  }
  ::unlink(socket.c_str());
  ::unlink(data.daemon_record().c_str());
}

}  // namespace runner::daemon
