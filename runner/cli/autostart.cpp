#include "runner/cli/autostart.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

extern char** environ;

namespace runner::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kStartLimit{10'000};  // cli.md promises no figure; a recovery of thousands of runs takes less
constexpr milliseconds kSignOfLife{1'000};   // silence after which the user is told what is awaited
constexpr milliseconds kRetryPause{20};      // between attempts to connect to a daemon that somebody else is starting

// One limit for the whole start, and one message when it takes noticeably long.
class Patience {
 public:
  bool over() const { return os::monotonic_now() >= end_; }
  // For poll(); the first instalment ends when the user shall be told.
  int milliseconds_left() {
    const nanoseconds now = os::monotonic_now();
    if (!told_ && now >= end_ - kStartLimit + kSignOfLife) {
      told_ = true;
      print_error("runner: waiting for the daemon to start…\n");
    }
    const nanoseconds until = told_ ? end_ : end_ - kStartLimit + kSignOfLife;
    return static_cast<int>(std::max<std::int64_t>(0, std::chrono::ceil<milliseconds>(until - now).count()));
  }
  void pause() {
    milliseconds_left();
    std::this_thread::sleep_for(kRetryPause);
  }

 private:
  nanoseconds end_ = os::monotonic_now() + kStartLimit;
  bool told_ = false;
};

std::filesystem::path daemon_program() {
  const auto sibling = os::program_directory() / "runnerd";
  if (::access(sibling.c_str(), X_OK) == 0) return sibling;
  const char* path = std::getenv("PATH");
  if (const auto found = os::find_program("runnerd", path == nullptr ? "" : path)) return *found;
  throw Error(ErrorCode::kUnavailable, "start the daemon: there is no runnerd beside runner or in PATH",
              "install both programs into one directory");
}

std::vector<std::string> whole_environment() {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);
  return variables;
}

struct Starting {
  os::Child child;
  os::Fd ready;  // "ready\n" or "error CODE\tMESSAGE\tHINT\n", then the end
};

Starting spawn_daemon(const Place& place) {
  const auto program = daemon_program();
  const os::DataDirectory data(place.home);
  os::make_directories(place.home, 0700);
  const os::Fd log = os::open_file(data.daemon_log(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw errno_error(errno, "pipe");
  Starting starting;
  starting.ready.reset(ends[0]);
  const os::Fd writing(ends[1]);
  constexpr int kReadyFd = 3;
  os::SpawnRequest request;
  request.arguments = {program.string(), "--home", place.home.string(), "--ready-fd", std::to_string(kReadyFd)};
  if (place.socket != data.control_socket()) {
    request.arguments.push_back("--socket");
    request.arguments.push_back(place.socket.string());
  }
  request.environment = whole_environment();
  request.directory = "/";  // it must not keep a directory of the user's busy
  request.new_session = true;
  request.descriptors = {{log.get(), STDOUT_FILENO}, {log.get(), STDERR_FILENO}, {writing.get(), kReadyFd}};
  starting.child = os::spawn(request);
  return starting;
}

// The daemon's word on its start; nothing when it ended without one.
std::optional<std::string> read_word(const os::Fd& ready, Patience& patience) {
  std::string word;
  for (;;) {
    pollfd polled{ready.get(), POLLIN, 0};
    const int count = ::poll(&polled, 1, patience.milliseconds_left());
    if (count < 0 && errno != EINTR) return std::nullopt;
    if (count <= 0) {
      if (patience.over())
        throw Error(ErrorCode::kUnavailable, "start the daemon: not ready within 10 s",
                    "'runner daemon logs' may say why");
      continue;
    }
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(ready.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return word.empty() ? std::nullopt : std::optional(word);
    word.append(buffer.data(), static_cast<std::size_t>(got));
    if (word.find('\n') != std::string::npos) return word;
  }
}

Error error_of(std::string_view word) {
  word = word.substr(0, word.find('\n'));
  word.remove_prefix(std::min<std::size_t>(word.size(), std::string_view("error ").size()));
  std::array<std::string, 3> fields;
  for (std::string& field : fields) {
    field = word.substr(0, word.find('\t'));
    word.remove_prefix(std::min(word.size(), field.size() + 1));
  }
  return Error(error_code_from(fields[0]), fields[1], fields[2]);
}

std::optional<pid_t> lock_holder(const Place& place) {
  const auto text = os::read_file_if_exists(os::DataDirectory(place.home).lock(), 4096);
  pid_t pid = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), pid).ec != std::errc{}) return std::nullopt;
  return pid;
}

bool is_live_daemon(pid_t pid) {
  const auto name = os::read_file_if_exists("/proc/" + std::to_string(pid) + "/comm", 4096);
  if (!name || *name != "runnerd\n") return false;
  const auto identity = os::identify(pid);
  return identity && os::open_process(*identity);  // no zombie: a container's first process may never reap
}

// A user unit is tried only for the default home, which it serves, and only where its manager runs.
bool start_unit(const Place& place) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const char* home = std::getenv("HOME");
  if (!place.is_default || runtime == nullptr || home == nullptr) return false;
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::path(runtime) / "systemd" / "private", ignored)) return false;
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const std::filesystem::path user_config =
      config != nullptr && *config == '/' ? config : std::string(home) + "/.config";
  const std::array<std::filesystem::path, 5> folders{
      user_config / "systemd/user", std::string(home) + "/.local/share/systemd/user", "/etc/systemd/user",
      "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"};
  const bool installed = std::any_of(folders.begin(), folders.end(), [&](const auto& folder) {
    return std::filesystem::exists(folder / "runner.service", ignored);
  });
  const char* path = std::getenv("PATH");
  const auto systemctl = os::find_program("systemctl", path == nullptr ? "" : path);
  if (!installed || !systemctl) return false;
  os::SpawnRequest request;
  request.arguments = {systemctl->string(), "--user", "start", "runner.service"};
  request.environment = whole_environment();
  try {
    return os::capture(request, kStartLimit).exit_code == 0;
  } catch (const Error&) {
    return false;  // the plain way still stands
  }
}

}  // namespace

std::unique_ptr<http::Client> try_connect(const Place& place) {
  try {
    return std::make_unique<http::Client>(place.socket);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnavailable) return nullptr;
    throw;
  }
}

std::unique_ptr<http::Client> start_and_connect(const Place& place) {
  Patience patience;
  if (start_unit(place)) {
    // `systemctl start` returns when the daemon said it is ready, or, for a simple unit, a moment before.
    for (int attempt = 0; attempt < 100; ++attempt, patience.pause())
      if (auto client = try_connect(place)) return client;
  }
  for (;;) {
    const Starting starting = spawn_daemon(place);
    const auto word = read_word(starting.ready, patience);
    if (word && word->starts_with("ready")) return std::make_unique<http::Client>(place.socket);
    const Error error = word ? error_of(*word)
                             : Error(ErrorCode::kUnavailable, "start the daemon: it ended before it was ready",
                                     "'runner daemon logs' may say why");
    // "Already running": somebody else's daemon won the race, or one is just ending. Anything else is final.
    for (;;) {
      if (auto client = try_connect(place)) return client;
      const auto holder = lock_holder(place);
      const bool other_lives = holder && *holder != starting.child.pid && is_live_daemon(*holder);
      if (error.code() != ErrorCode::kConflict || patience.over()) throw error;
      if (!other_lives) break;
      patience.pause();
    }
    if (lock_holder(place) == starting.child.pid) throw error;  // ours held the lock: the conflict is another one
    patience.pause();
  }
}

DaemonEnd how_daemon_ended(const Place& place) {
  const auto holder = lock_holder(place);
  if (holder && is_live_daemon(*holder))
    if (const auto identity = os::identify(*holder))
      if (const auto process = os::open_process(*identity)) {
        pollfd ended{process->get(), POLLIN, 0};
        static_cast<void>(::poll(&ended, 1, static_cast<int>(kStartLimit.count())));
      }
  std::error_code ignored;
  return std::filesystem::exists(os::DataDirectory(place.home).daemon_record(), ignored) ? DaemonEnd::kDied
                                                                                         : DaemonEnd::kStopped;
}

}  // namespace runner::cli
