// One connection of the HTTP server, from its first byte to its last. Private to runner/daemon: http_server.cpp only.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "runner/core/error.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/daemon/owners.hpp"
#include "runner/os/fd.hpp"

namespace runner::daemon {

// What all connections of one server share. Read-only once the server accepts, but for the counts.
struct ServerState {
  HttpServer::Handler handler;
  ServerLimits limits;
  ServerAccess access{};
  os::Fd stopping;  // eventfd: readable from the shutdown on, never drained, so that it wakes every poll for ever
  std::atomic<std::size_t> waiting{0};  // requests whose answer may take as long as a run
  std::atomic<std::size_t> large{0};    // requests with a large body
  Owners owners{};
};

// Serves requests until the peer closes, breaks the protocol, is too slow, is turned out, or the server stops. Blocks;
// throws nothing. The peer's socket stays open.
void serve_connection(PeerSocket& peer, ServerState& server) noexcept;
// Turns a connection away without reading from it: too many, or not our user. Does not block.
void refuse_connection(os::Fd socket, int status, const Error& why) noexcept;

}  // namespace runner::daemon
