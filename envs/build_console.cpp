#include "envs/build_console.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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
constexpr std::int64_t kMostSteps = 1 << 20;  // bytes for steps that come after the limit
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

// The end of the escape sequence that begins at `i`: colours and cursor movements, or an operating system's command
// with its words up to BEL or ESC.
std::size_t end_of_escape(std::string_view line, std::size_t i) {
  if (++i >= line.size()) return i;
  if (line[i] == '\\') return i + 1;
  if (line[i] == '[') {
    ++i;
    while (i < line.size() && (line[i] < '@' || line[i] > '~')) ++i;
    return i + 1;
  }
  if (line[i] == ']') {
    while (i < line.size() && line[i] != '\x07' && line[i] != '\x1b') ++i;
    return i < line.size() && line[i] == '\x07' ? i + 1 : i;
  }
  return i;
}

// What moves a terminal has no place in a log, nor in a message. A tab may stay.
std::string without_controls(std::string_view line) {
  std::string plain;
  for (std::size_t i = 0; i < line.size();) {
    const auto c = static_cast<unsigned char>(line[i]);
    const auto next = i + 1 < line.size() ? static_cast<unsigned char>(line[i + 1]) : 0U;
    if (c == 0x1b) {
      i = end_of_escape(line, i);
    } else if (c == 0xc2 && next >= 0x80 && next <= 0x9f) {
      i += 2;
    } else {
      if (c == '\t' || (c >= 0x20 && c != 0x7f)) plain += line[i];
      ++i;
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

// A headline that does not say which package it is about; the lines below do.
bool is_nameless(std::string_view line) {
  constexpr std::array<std::string_view, 3> kNameless{"No solution found", "DO NOT MATCH THE HASHES",
                                                      "Hashes are required"};
  return std::any_of(kNameless.begin(), kNameless.end(), [&](auto words) { return contains(line, words); });
}

std::string_view without_bullet(std::string_view line) {
  for (const std::string_view bullet : {" ", "cause: ", "╰─▶ ", "├─▶ "})
    while (line.starts_with(bullet)) line.remove_prefix(bullet.size());
  return line;
}

// The first sentence of the headline and the lines that belong to it: a solver's reasons are cut where a terminal would
// end, a list of packages is one a line.
std::string with_names(std::string_view head, std::deque<std::string>::const_iterator& next,
                       std::deque<std::string>::const_iterator end) {
  head = without_bullet(head);
  std::string text(head.substr(0, head.find(". ")));
  if (text.ends_with(':')) text.pop_back();
  const bool reasons = contains(head, "No solution found");
  for (bool first = true; next != end && next->starts_with(' ') && (first || reasons); ++next, first = false)
    text += (first ? ": " : " ") + std::string(without_bullet(*next));
  return text;
}

// "2 s", "90 min": of what people write into a configuration.
std::string in_words(std::chrono::nanoseconds time) {
  const auto seconds = std::chrono::round<std::chrono::seconds>(time).count();
  if (seconds == 0) return std::to_string(std::chrono::round<std::chrono::milliseconds>(time).count()) + " ms";
  return seconds % 60 == 0 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
}

}  // namespace

BuildConsole::BuildConsole(Options options) : options_(std::move(options)), begun_(os::monotonic_now()) {
  log_.reset(::open(options_.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct ::stat info {};
  if (!log_ || ::fstat(log_.get(), &info) != 0) throw errno_error(errno, "open " + options_.log.string());
  logged_ = info.st_size;
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
  step_ = redacted(without_controls(what));
  last_.clear();
  log("==> " + step_ + "\n", kMostSteps);
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

// `more`: bytes above the limit.
void BuildConsole::log(std::string_view text, std::int64_t more) {
  if (logged_ + static_cast<std::int64_t>(text.size()) > options_.most_logged + more) {
    if (std::exchange(cut_, true)) return;
    const std::string notice = "[the log is longer than " + std::to_string(options_.most_logged >> 20) +
                               " MiB: what commands say from here on is left out]\n";
    return append(notice);
  }
  append(text);
}

void BuildConsole::append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(log_.get(), text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) throw errno_error(errno, "write the build's log");
    text.remove_prefix(static_cast<std::size_t>(wrote));
    logged_ += wrote;
  }
}

void BuildConsole::take_line(std::string_view raw) {
  const std::string line = redacted(without_controls(raw));
  log(line + "\n", 0);
  if (is_blank(line)) return;
  last_.push_back(line.substr(0, kLongestLine));
  if (last_.size() > kLastLines) last_.pop_front();
}

void BuildConsole::check() const {
  if (options_.stopped && options_.stopped()) throw Error(ErrorCode::kUnavailable, "the build was stopped");
  if (os::monotonic_now() >= options_.deadline)
    throw Error(ErrorCode::kUnavailable,
                "the environment's build took longer than its limit of " + in_words(options_.deadline - begun_) +
                    (step_.empty() ? "" : ", the last step: " + step_),
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
      if (on_line) on_line(redacted(without_controls(partial)));
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

// Not every tool says so: ensurepip's words are lost in `python -m venv`, whose own say only that it failed.
bool BuildConsole::is_full() const {
  constexpr std::uint64_t kNothing = std::uint64_t{16} << 20;  // bytes; a tool cleans up some when it fails
  if (options_.free_space) return options_.free_space() < kNothing;
  struct ::statvfs info {};
  if (::statvfs(options_.scratch.c_str(), &info) != 0 || info.f_blocks == 0) return false;
  return std::uint64_t{info.f_bavail} * info.f_frsize < kNothing || (info.f_files != 0 && info.f_favail == 0);
}

Error BuildConsole::failure(const std::string& tool, int status) const {
  ErrorCode code = ErrorCode::kInvalid;
  auto telling = last_.end();
  std::string all;
  for (auto line = last_.begin(); line != last_.end(); ++line) {
    if (contains(*line, "No space left on device") || contains(*line, "Disk quota exceeded"))
      code = ErrorCode::kNoSpace;
    if (telling == last_.end() || weight(*line) > weight(*telling)) telling = line;
  }
  std::string message = tool + ": ";
  if (code != ErrorCode::kNoSpace && is_full()) {
    code = ErrorCode::kNoSpace;
    message += "no space left on the device of " + options_.scratch.string() + ": ";
  }
  if (telling == last_.end())
    message += status > 128 ? "it was killed by signal " + std::to_string(status - 128)
                            : "it ended with status " + std::to_string(status) + " and said nothing";
  auto behind = telling;
  if (telling != last_.end()) ++behind;
  if (telling != last_.end())
    message += is_nameless(*telling) ? with_names(*telling, behind, last_.end()) : without_bullet(*telling);
  for (auto line = last_.begin(); line != telling; ++line) all += "\n" + *line;
  for (; behind != last_.end(); ++behind) all += "\n" + *behind;
  return Error(code, message + all);
}

}  // namespace runner::envs
