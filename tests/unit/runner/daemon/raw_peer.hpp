// A server on a socket of its own, and a client that sends exactly the bytes it is told to.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "runner/daemon/http_server.hpp"
#include "runner/os/fd.hpp"

namespace runner::daemon::raw {

namespace os = runner::os;
using http::Request;

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string pattern = "/tmp/http_server_test.XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

// A client that sends exactly the bytes it is told to.
class RawPeer {
 public:
  explicit RawPeer(const std::filesystem::path& socket) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket.c_str());
    // Thrown, not asserted: peers also live on threads of their own, where Catch must not be called.
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("connect failed");
  }

  // False when the server no longer takes bytes.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }

  // Reads until `end` has been seen or the server closes; throws when nothing comes for 10 s.
  std::string read_until(std::string_view end) {
    std::string got;
    while (end.empty() || got.find(end) == std::string::npos) {
      pollfd polled{fd_.get(), POLLIN, 0};
      if (::poll(&polled, 1, 10'000) != 1) throw std::runtime_error("no answer within 10 s; so far: " + got);
      std::array<char, 65536> buffer;
      const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      got.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return got;
  }
  // At most so many bytes, if there are some.
  void read_some(std::size_t most) {
    std::string buffer(most, '\0');
    static_cast<void>(::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT));
  }
  std::string read_to_end() { return read_until({}); }
  bool is_closed() { return read_to_end().empty(); }

 private:
  os::Fd fd_;
};

struct Server {
  explicit Server(HttpServer::Handler handler, ServerLimits limits = {})
      : socket(directory.path / "s"), http(std::make_unique<HttpServer>(socket, std::move(handler), limits)) {}
  TemporaryDirectory directory;
  std::filesystem::path socket;
  std::unique_ptr<HttpServer> http;
};

inline void echo(const Request& request, Exchange& exchange) {
  std::string text = request.method;
  for (const auto& segment : request.path) text += " " + segment;
  for (const auto& [key, value] : request.query) text += " " + key + "=" + value;
  exchange.respond({.status = 200, .body = text + "|" + request.body, .content_type = "text/plain"});
}

inline std::span<const std::byte> bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: r\r\n\r\n";

}  // namespace runner::daemon::raw
