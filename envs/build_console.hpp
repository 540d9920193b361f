// Runs the tools of one build: their output goes to the build's log, without secrets; what they do is told as progress;
// their last words explain a failure. One object per build, used by one thread.
//
// Tools run in a session of their own under `runner-guard`, which ends everything a tool has started when the tool
// ends, when it is told to, and when the daemon dies.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

namespace runner::envs {

struct Tool {
  std::string name;                              // "pip", for messages
  std::vector<std::string> arguments;            // [0] is an absolute path
  std::map<std::string, std::string> variables;  // the whole environment of it
  std::filesystem::path directory;               // where it runs; empty: the scratch directory
};

// Runs a tool where it belongs, here or in a container: BuildConsole::run with `out` null, else capture.
using RunTool =
    std::function<int(const Tool& tool, const std::function<void(std::string_view line)>& on_line, std::string* out)>;

class BuildConsole {
 public:
  struct Options {
    std::filesystem::path log;                          // appended to; made 0600
    std::int64_t most_logged = std::int64_t{32} << 20;  // bytes; then steps only
    std::filesystem::path scratch;                      // the build's temporary directory
    std::filesystem::path guard;                        // the program runner-guard
    std::vector<std::string> secrets{};                 // never written: shown as ****
    std::function<bool()> stopped;                      // asked ten times a second
    std::function<void(const std::string&)> progress;   // a line for people: "installing: numpy (3 of 12)"
    std::chrono::nanoseconds deadline;                  // CLOCK_MONOTONIC (os::monotonic_now())
    // Bytes that are free where the build writes; empty: the scratch directory's file system is asked.
    std::function<std::uint64_t()> free_space{};
  };
  explicit BuildConsole(Options options);

  // Control characters go out of everything that is logged or told.
  // A line of the log, and a step of the progress.
  void step(const std::string& what);
  // Progress within the step, not in the log.
  void progress(const std::string& detail);
  // Raw words of somebody else (the Engine's build) into the log; they count as last words.
  void write(std::string_view text);
  // To its end. `on_line` sees each line of its output (stdout and stderr, in the order they came; '\r' ends a line,
  // too), without secrets. Returns its exit status (128+N for a signal). Error(kUnavailable) "stopped" when nobody
  // wants the build any more, Error(kUnavailable) naming the limit at the deadline, Error(kNoSpace) …
  int run(const Tool& tool, const std::function<void(std::string_view line)>& on_line = {});
  // As run(), but its stdout is returned instead of logged (at most 64 MiB).
  int capture(const Tool& tool, std::string& out);
  // run() and failure() unless it is 0.
  void require(const Tool& tool, const std::function<void(std::string_view line)>& on_line = {});
  // For a tool that has failed: what it said last, its most telling line first: Error(kInvalid). "No space left on
  // device" among its words, or no space left, makes it kNoSpace.
  Error failure(const std::string& tool, int status) const;
  // Throws as run() does, for work that is not a tool's.
  void check() const;

  // Some of what was said is not in the log: it is long enough.
  bool is_cut() const { return cut_; }

  const std::filesystem::path& scratch() const { return options_.scratch; }
  std::string redacted(std::string_view text) const;

 private:
  int run_guarded(const Tool& tool, const std::function<void(std::string_view)>& on_line, std::string* out);
  void take_line(std::string_view line);
  void log(std::string_view text, std::int64_t more);
  void append(std::string_view text);

  bool is_full() const;

  const Options options_;
  const std::chrono::nanoseconds begun_;
  os::Fd log_;
  std::int64_t logged_ = 0;  // bytes
  bool cut_ = false;
  std::string step_;
  std::deque<std::string> last_;  // of the present tool
};

}  // namespace runner::envs
