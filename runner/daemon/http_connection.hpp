// One connection of the HTTP server, from its first byte to its last. Private to runner/daemon: http_server.cpp only.
#pragma once

#include "runner/core/error.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/os/fd.hpp"

namespace runner::daemon {

// What all connections of one server share. Read-only once the server accepts.
struct ServerState {
  HttpServer::Handler handler;
  ServerLimits limits;
  os::Fd stopping;  // eventfd: readable from the shutdown on, never drained, so that it wakes every poll for ever
};

// Serves requests until the peer closes, breaks the protocol, is too slow, or the server stops. Blocks; throws nothing.
void serve_connection(os::Fd socket, const ServerState& server) noexcept;
// Turns a connection away without reading from it: too many, or not our user. Does not block.
void refuse_connection(os::Fd socket, int status, const Error& why) noexcept;

}  // namespace runner::daemon
