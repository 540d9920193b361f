// `runner tensorboard`: an installed TensorBoard over copies of the runs' event files, which are kept up to date while
// it runs; or event files of the metrics that the runs logged.
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/event_mirror.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

extern char** environ;

namespace runner::cli {
namespace {

constexpr int kLookEveryMs = 1000;  // for what the runs have written

std::vector<Json> documents_of(Session& session, const std::vector<std::string>& names) {
  std::vector<Json> runs;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    Json run = parse_document(session.get(run_target(name)));
    if (seen.insert(text_at(run, "runId")).second) runs.push_back(std::move(run));
  }
  return runs;
}

int write_metrics(Session& session, const TensorboardOptions& options) {
  const std::string directory = options.directory.value_or("tensorboard");
  Json items = Json::array();
  for (const Json& run : documents_of(session, options.runs)) {
    const WrittenMetrics written = write_metric_events(session, run, directory);
    const std::string file = std::filesystem::absolute(written.file).lexically_normal().string();
    if (session.json())
      items.push_back(
          {{"runId", text_at(run, "runId")}, {"path", file}, {"metrics", written.metrics}, {"points", written.points}});
    else
      print(printable(written.file.string()) + "  (" + std::to_string(written.points) + " points of " +
            std::to_string(written.metrics) + " metrics)\n");
  }
  if (session.json())
    print(json_text(dump_document({{"items", items}, {"nextToken", nullptr}})));
  else
    print_error("hint: `tensorboard --logdir " + printable(directory) + "` shows them\n");
  return 0;
}

std::string find_tensorboard() {
  const char* path = std::getenv("PATH");
  if (const auto found = os::find_program("tensorboard", path == nullptr ? "" : path)) return found->string();
  throw Error(ErrorCode::kUnavailable, "tensorboard: it is not installed, or not on PATH",
              "`pip install tensorboard` in the environment you work in; `runner tensorboard --metrics RUN` and"
              " `runner run download RUN logs` need none");
}

// Named by the user, or a temporary one that goes in the end.
class MirrorDirectory {
 public:
  explicit MirrorDirectory(const std::optional<std::string>& named) {
    if (named) {
      path_ = *named;
      return;
    }
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-tensorboard-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw errno_error(errno, "create " + pattern);
    path_ = pattern;
    temporary_ = true;
  }
  ~MirrorDirectory() {
    std::error_code ignored;
    if (temporary_) std::filesystem::remove_all(path_, ignored);
  }
  MirrorDirectory(const MirrorDirectory&) = delete;
  MirrorDirectory& operator=(const MirrorDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool temporary_ = false;
};

// Ctrl-C and SIGTERM as something to be read, by whoever waits for the daemon, too: first TensorBoard ends, then its
// directory goes.
class EndSignals {
 public:
  explicit EndSignals(Session& session) : session_(session) {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, number);
    ::sigprocmask(SIG_BLOCK, &signals, &before_);
    fd_ = os::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    session_.interrupt_on(fd_.get());
  }
  ~EndSignals() {
    session_.interrupt_on(-1);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;
  int fd() const { return fd_.get(); }
  void take() {
    signalfd_siginfo taken{};
    while (::read(fd_.get(), &taken, sizeof taken) > 0) {
    }
  }

 private:
  Session& session_;
  sigset_t before_{};
  os::Fd fd_;
};

os::Child start(const std::string& program, const std::filesystem::path& directory, const std::optional<int>& port) {
  os::SpawnRequest request{.arguments = {program, "--logdir", directory.string()}};
  if (port) request.arguments.insert(request.arguments.end(), {"--port", std::to_string(*port)});
  for (char** variable = environ; *variable != nullptr; ++variable) request.environment.emplace_back(*variable);
  request.descriptors = {{STDIN_FILENO, 0}, {STDOUT_FILENO, 1}, {STDERR_FILENO, 2}};
  return os::spawn(request);
}

// The runs that may still write; each is looked at once more when it has ended. Throws http::Interrupted.
void mirror_all(Session& session, std::vector<std::string>& open, const std::filesystem::path& directory) {
  std::vector<std::string> still;
  for (const std::string& run : open) {
    try {
      const auto status = run_status_from(text_at(parse_document(session.get(run_target(run))), "status"));
      mirror_event_files(session, run, directory);
      if (!status || !is_final(*status)) still.push_back(run);
    } catch (const http::ConnectionLost&) {
      throw;
    } catch (const Error& error) {  // what is there can still be looked at
      print_error("runner: warning: " + printable(error.message()) + "\n");
      if (error.code() != ErrorCode::kNotFound) still.push_back(run);
    }
  }
  open = std::move(still);
}

// Who interrupts it, or a daemon that does not come back, leaves what is there.
void look_again(Session& session, std::vector<std::string>& open, const std::filesystem::path& directory) {
  try {
    try {
      mirror_all(session, open, directory);
    } catch (const http::ConnectionLost&) {
      session.reconnect();
    }
  } catch (const http::Interrupted&) {  // the signal waits to be taken
  } catch (const Error& error) {
    print_error("runner: warning: " + printable(error.message()) + "\n");
    open.clear();
  }
}

}  // namespace

int run(Session& session, const TensorboardOptions& options) {
  if (options.metrics) return write_metrics(session, options);
  if (session.json())
    throw Error(ErrorCode::kInvalid, "tensorboard: it has no --json but with --metrics", "leave it out");
  const std::string program = find_tensorboard();
  std::vector<std::string> open;
  for (const Json& run : documents_of(session, options.runs)) open.push_back(text_at(run, "runId"));
  EndSignals signals(session);
  const MirrorDirectory place(options.directory);
  look_again(session, open, place.path());
  const os::Child child = start(program, place.path(), options.port);
  bool asked = false;
  for (;;) {
    pollfd polled[] = {{child.pidfd.get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    const int ready = ::poll(polled, 2, open.empty() ? -1 : kLookEveryMs);
    if (ready < 0 && errno != EINTR) throw errno_error(errno, "wait for TensorBoard");
    if (polled[0].revents != 0) break;
    if (polled[1].revents != 0) {
      signals.take();
      os::signal_process(child.pidfd, asked ? SIGKILL : SIGTERM);
      asked = true;
      continue;
    }
    if (ready > 0 || asked) continue;
    look_again(session, open, place.path());
  }
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (asked) return 0;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace runner::cli
