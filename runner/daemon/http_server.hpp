// HTTP/1.1 over a unix socket: one thread per connection, bounded in number, bytes and time. Knows no routes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runner/http/message.hpp"

namespace runner::daemon {

// One request's answer. Used by the handler on the connection's thread only. Every call throws ClientGone when the peer
// has closed or does not read for the write time-out; handlers let it pass.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void respond(const http::Response& response) = 0;
  // Before the answer, to a client that has asked for it: an interim response (102) with one line of text.
  virtual void inform(std::string_view notice) = 0;
  // Whose request it is, of a server that asks for that (ServerAccess).
  virtual const std::string& owner() const = 0;
  // Which process is asking (SO_PEERCRED: it has connected, and may have ended since); 0: one of another pid namespace.
  virtual pid_t peer() const = 0;
  // One more header of the answer, before it begins.
  virtual void set_header(std::string_view name, std::string_view value) = 0;
  // A body in pieces: Content-Length when the length is known, else chunked. Exactly one finish_stream() ends it.
  virtual void start_stream(int status, std::string_view content_type, std::optional<std::int64_t> length) = 0;
  virtual void write(std::span<const std::byte> piece) = 0;
  virtual void finish_stream() = 0;
  // The connection ends with this answer: to the client that means that nothing was done. Before it begins.
  virtual void close_afterwards() = 0;
  // Says that the answer may take as long as a run does: places for such are fewer than connections, so that somebody
  // who only asks always finds one. Error(kUnavailable) when they are taken. Before the answer begins.
  virtual void expect_to_wait() = 0;
  // Sleeps until `wake_fd` (an eventfd, say) is readable, the time is over, or the server shuts down (false: give up).
  // No deadline: pass nothing. Throws ClientGone as soon as the peer closes.
  virtual bool wait(int wake_fd, std::optional<std::chrono::milliseconds> limit) = 0;
};
struct ClientGone {};

struct ServerLimits {
  // One more turns out the peer that has owed a whole request longest, once it has for `patience`. Where all of them
  // are being served it waits until one is not any more; those that come when that has lasted for `turn` are answered
  // 503 and closed.
  std::size_t connections = 256;
  std::chrono::milliseconds patience{100};
  std::chrono::milliseconds turn{2'000};
  std::size_t waiting = 224;                // answers that take as long as a run: a further one is 503
  std::size_t large_bodies = 8;             // of more than a megabyte, at once: a further one is 503
  std::size_t header_bytes = 64 * 1024;     // more: 431
  std::size_t body_bytes = 16 << 20;        // more: 413
  std::chrono::milliseconds read{10'000};   // for one whole request, once its first byte came: 408 or close
  std::chrono::milliseconds write{30'000};  // a peer that does not read; and for as much as it gets, at
  std::int64_t least_rate = 64 << 10;       // bytes a second
};

// Who may ask.
struct ServerAccess {
  // Nothing: peers with our own uid, and root (SO_PEERCRED). Else any peer, and whose request it is says its header
  // Authorization, looked at before the body is read: nobody's is answered 401, and the connection closed. Called on
  // the connections' threads; an Error it throws is the answer.
  std::function<std::optional<std::string>(std::string_view authorization)> owner_of{};
  // Of one owner. One more turns out that of its own that has owed a whole request longest, once it has for the
  // server's `patience`; where all of them go on being served it is 503, and closed.
  std::size_t connections = 8;
  std::size_t waiting = 6;  // as ServerLimits::waiting
};

class HttpServer {
 public:
  // An Error thrown by the handler before it answered becomes {"error": {code, message, hint}} with the mapped status;
  // any other std::exception becomes 500 `internal`. After a stream has started an exception closes the connection, cut
  // short.
  using Handler = std::function<void(const http::Request&, Exchange&)>;

  // Binds `socket` (mode 0600, at most 107 bytes: Error(kInvalid) with a hint), replacing a dead socket file; the
  // caller holds the lock that makes that safe.
  HttpServer(const std::filesystem::path& socket, Handler handler, ServerLimits limits = {}, ServerAccess access = {});
  // Stops accepting, wakes every wait(), closes idle connections, joins all threads: at most about a second.
  ~HttpServer();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::daemon
