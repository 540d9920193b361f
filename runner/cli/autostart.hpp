// Finding the daemon, and starting it when there is none.
#pragma once

#include <memory>

#include "runner/cli/place.hpp"
#include "runner/http/client.hpp"

namespace runner::cli {

// A connection, or nothing when nobody listens. Other failures (permission, a bad path) are Errors.
std::unique_ptr<http::Client> try_connect(const Place& place);

// Starts the daemon of this place, through the systemd user unit when there is one, and connects. Another command may
// do the same at the same time: one daemon wins, both connect. Waits 10 s at most; the daemon's own error is thrown as
// it is.
std::unique_ptr<http::Client> start_and_connect(const Place& place);

// After a lost connection: waits until the daemon that served this place has ended, and says whether it had meant to
// (`daemon stop` removes daemon.json, a crash cannot).
enum class DaemonEnd { kDied, kStopped };
DaemonEnd how_daemon_ended(const Place& place);

}  // namespace runner::cli
