// One connection of the HTTP server, from its first byte to its last. Private to runner/daemon: http_server.cpp only.
#pragma once

#include <atomic>
#include <cstdint>

#include "runner/core/error.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/os/fd.hpp"

namespace runner::daemon {

// What all connections of one server share. Read-only once the server accepts, but for the counts.
struct ServerState {
  HttpServer::Handler handler;
  ServerLimits limits;
  os::Fd stopping;  // eventfd: readable from the shutdown on, never drained, so that it wakes every poll for ever
  std::atomic<std::size_t> waiting{0};  // requests whose answer may take as long as a run
  std::atomic<std::size_t> large{0};    // requests with a large body
};

// Since when a peer has owed a whole request: nanoseconds of CLOCK_MONOTONIC, or one of the constants. The connection's
// thread moves it between a time and kServed; the acceptor alone makes a time kTurnedOut, and shuts the socket down.
using OwedSince = std::atomic<std::int64_t>;
inline constexpr std::int64_t kServed = 0;
inline constexpr std::int64_t kTurnedOut = -1;

// Serves requests until the peer closes, breaks the protocol, is too slow, is turned out, or the server stops. Blocks;
// throws nothing. `socket` stays open.
void serve_connection(const os::Fd& socket, OwedSince& owed_since, ServerState& server) noexcept;
// Turns a connection away without reading from it: too many, or not our user. Does not block.
void refuse_connection(os::Fd socket, int status, const Error& why) noexcept;

}  // namespace runner::daemon
