#include "envs/build_console.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "runner/os/clock.hpp"
#include "runner/os/process.hpp"

namespace runner::envs {
namespace {

constexpr std::size_t kLastLines = 12;
constexpr std::size_t kLongestLine = 4096;  // of what is kept and told; the log has all
constexpr std::size_t kMostCaptured = std::size_t{64} << 20;
constexpr int kTickMillis = 100;

struct Pipe {
  os::Fd reading;
  os::Fd writing;
};

Pipe new_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw errno_error(errno, "pipe");
  return {.reading = os::Fd(ends[0]), .writing = os::Fd(ends[1])};
}

int status_of(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

// Colours and cursor movements have no place in a log, nor in a message.
std::string without_escapes(std::string_view line) {
  std::string plain;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\x1b') {
      plain += line[i];
      continue;
    }
    if (i + 1 < line.size() && line[i + 1] == '[') {
      i += 2;
      while (i < line.size() && (line[i] < '@' || line[i] > '~')) ++i;
    }
  }
  return plain;
}

// How much a line says about a failure.
int weight(std::string_view line) {
  constexpr std::array<std::string_view, 6> kTelling{"ERROR:", "error:", "Error:", "× ", "fatal:", "Could not"};
  for (const auto word : kTelling)
    if (contains(line, word)) return 2;
  return contains(line, "rror") || contains(line, "ailed") ? 1 : 0;
}

}  // namespace

BuildConsole::BuildConsole(Options options) : options_(std::move(options)) {
  log_.reset(::open(options_.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log_) throw errno_error(errno, "open " + options_.log.string());
}

std::string BuildConsole::redacted(std::string_view text) const {
  std::string result(text);
  for (const std::string& secret : options_.secrets) {
    if (secret.empty()) continue;
    for (auto at = result.find(secret); at != std::string::npos; at = result.find(secret, at + 4))
      result.replace(at, secret.size(), "****");
  }
  return result;
}

void BuildConsole::step(const std::string& what) {
  step_ = redacted(what);
  last_.clear();
  const std::string line = "==> " + step_ + "\n";
  if (::write(log_.get(), line.data(), line.size()) < 0) throw errno_error(errno, "write the build's log");
  if (options_.progress) options_.progress(step_);
}

void BuildConsole::progress(const std::string& detail) {
  if (!options_.progress) return;
  options_.progress(step_.empty() ? redacted(detail) : step_ + ": " + redacted(detail));
}

void BuildConsole::write(std::string_view text) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const auto end = std::min(text.find('\n', begin), text.size());
    take_line(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

void BuildConsole::take_line(std::string_view raw) {
  const std::string line = redacted(without_escapes(raw));
  const std::string logged = line + "\n";
  std::string_view rest = logged;
  while (!rest.empty()) {
    const ssize_t wrote = ::write(log_.get(), rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) throw errno_error(errno, "write the build's log");
    rest.remove_prefix(static_cast<std::size_t>(wrote));
  }
  if (is_blank(line)) return;
  last_.push_back(line.substr(0, kLongestLine));
  if (last_.size() > kLastLines) last_.pop_front();
}

void BuildConsole::check() const {
  if (options_.stopped && options_.stopped()) throw Error(ErrorCode::kUnavailable, "the build was stopped");
  if (os::monotonic_now() >= options_.deadline)
    throw Error(ErrorCode::kUnavailable, "the environment's build took longer than its limit",
                "raise build_limit in config.toml");
}

int BuildConsole::run_guarded(const Tool& tool, const std::function<void(std::string_view)>& on_line,
                              std::string* out) {
  check();
  last_.clear();
  Pipe lifeline = new_pipe();
  Pipe words = new_pipe();
  std::optional<Pipe> captured;
  if (out != nullptr) captured = new_pipe();
  os::SpawnRequest request{.arguments = {options_.guard.string()},
                           .environment = {},
                           .directory = tool.directory.empty() ? options_.scratch : tool.directory,
                           .new_session = true,
                           .descriptors = {{lifeline.reading.get(), 3},
                                           {captured ? captured->writing.get() : words.writing.get(), 1},
                                           {words.writing.get(), 2}}};
  request.arguments.insert(request.arguments.end(), tool.arguments.begin(), tool.arguments.end());
  for (const auto& [name, value] : tool.variables) request.environment.push_back(name + "=" + value);
  const os::Child guard = os::spawn(request);
  lifeline.reading.reset();
  words.writing.reset();
  if (captured) captured->writing.reset();

  const auto end = [&] {
    lifeline.writing.reset();
    return status_of(guard.pid);
  };
  std::string partial;
  const auto read_words = [&](const char* data, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      if (data[i] != '\n' && data[i] != '\r') {
        partial += data[i];
        if (partial.size() < (std::size_t{1} << 20)) continue;
      }
      take_line(partial);
      if (on_line) on_line(redacted(without_escapes(partial)));
      partial.clear();
    }
  };
  try {
    // What the command leaves running keeps the pipes open no longer than the guard lives.
    bool running = true;
    while (words.reading || (captured && captured->reading)) {
      std::array<pollfd, 3> polled{pollfd{words.reading.get(), POLLIN, 0},
                                   pollfd{captured ? captured->reading.get() : -1, POLLIN, 0},
                                   pollfd{running ? guard.pidfd.get() : -1, POLLIN, 0}};
      if (::poll(polled.data(), polled.size(), running ? kTickMillis : 0) < 0 && errno != EINTR)
        throw errno_error(errno, "poll");
      check();
      std::array<char, 65536> buffer;
      bool got_some = false;
      for (std::size_t i = 0; i < 2; ++i) {
        if (polled[i].revents == 0) continue;
        os::Fd& reading = i == 0 ? words.reading : captured->reading;
        const ssize_t got = ::read(reading.get(), buffer.data(), buffer.size());
        if (got == 0) reading.reset();
        if (got <= 0) continue;
        got_some = true;
        if (i == 0)
          read_words(buffer.data(), static_cast<std::size_t>(got));
        else if (out->size() + static_cast<std::size_t>(got) > kMostCaptured)
          throw Error(ErrorCode::kUnavailable, tool.name + ": its answer is larger than 64 MiB");
        else
          out->append(buffer.data(), static_cast<std::size_t>(got));
      }
      if (polled[2].revents != 0) running = false;
      if (!running && !got_some) break;
    }
    if (!partial.empty()) read_words("\n", 1);
  } catch (...) {
    end();
    throw;
  }
  return end();
}

int BuildConsole::run(const Tool& tool, const std::function<void(std::string_view)>& on_line) {
  return run_guarded(tool, on_line, nullptr);
}

int BuildConsole::capture(const Tool& tool, std::string& out) {
  out.clear();
  return run_guarded(tool, {}, &out);
}

void BuildConsole::require(const Tool& tool, const std::function<void(std::string_view)>& on_line) {
  if (const int status = run(tool, on_line); status != 0) throw failure(tool.name, status);
}

Error BuildConsole::failure(const std::string& tool, int status) const {
  ErrorCode code = ErrorCode::kInvalid;
  const std::string* telling = nullptr;
  std::string all;
  for (const std::string& line : last_) {
    if (contains(line, "No space left on device") || contains(line, "Disk quota exceeded")) code = ErrorCode::kNoSpace;
    if (telling == nullptr || weight(line) > weight(*telling)) telling = &line;
  }
  std::string message = tool + ": ";
  if (telling == nullptr)
    message += status > 128 ? "it was killed by signal " + std::to_string(status - 128)
                            : "it ended with status " + std::to_string(status) + " and said nothing";
  else
    message += *telling;
  for (const std::string& line : last_)
    if (telling == nullptr || &line != telling) all += "\n" + line;
  return Error(code, message + all);
}

}  // namespace runner::envs
