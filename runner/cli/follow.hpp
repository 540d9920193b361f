// Following a run's log to its end, over lost connections and dying daemons, and stopping at Ctrl-C.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runner/cli/session.hpp"
#include "runner/os/fd.hpp"

namespace runner::cli {

struct FollowedLog {
  std::string run;
  std::string file;                    // empty: the standard log
  std::int64_t offset = 0;             // bytes to skip
  std::optional<std::int64_t> tail{};  // only the last so many lines of what is there, then on
  int attempt = 0;                     // of the run, for its standard log; 0: the present one
  int output = 1;                      // descriptor
  bool raw = false;                    // the bytes as they are on a terminal, too; elsewhere they always are
};

// Writes the log's bytes as they arrive, at once, and returns when the run is final and its log complete. A run that
// gives way is followed into its next attempt, which is said on standard error. A daemon that dies is found again and
// asked from the byte that was printed last: nothing is lost or repeated. Throws http::Interrupted while an
// InterruptGuard is active and Ctrl-C was pressed, OutputClosed when nobody reads any more.
void follow_log(Session& session, FollowedLog log);

// Shows on standard error what a run that has not started waits for (an image that is being pulled), until it starts or
// ends: on a terminal as one line that is rewritten, elsewhere a line when it becomes another thing and every five
// seconds. Goes on after a daemon that died.
void follow_progress(Session& session, const std::string& run);

// While it lives, Ctrl-C interrupts the session's waiting instead of ending the program.
class InterruptGuard {
 public:
  explicit InterruptGuard(Session& session);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // After the first Ctrl-C: whether another one comes within 2 s.
  bool pressed_again();

 private:
  Session& session_;
};

}  // namespace runner::cli
