// The client against a scripted peer: each test says byte for byte what the "daemon" answers.
#include "runner/http/client.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runner/os/fd.hpp"

using runner::Error;
using runner::ErrorCode;
using runner::http::Client;
using runner::http::ConnectionLost;
namespace os = runner::os;

namespace {

// Serves one connection after the other: reads one request (up to the blank line), sends the next answer. An empty
// answer closes the connection; "hang" leaves it open without an answer until the client goes.
class ScriptedPeer {
 public:
  explicit ScriptedPeer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    std::string pattern = "/tmp/client_test.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    socket = directory_ / "s";
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket.c_str());
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedPeer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  std::filesystem::path socket;
  std::string requests;  // everything received; read it after the peer's last answer
  int connections = 0;

 private:
  void serve() {
    std::size_t next = 0;
    while (next < answers_.size()) {
      const os::Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) return;
      ++connections;
      while (next < answers_.size() && read_request(peer)) {
        const std::string answer = answers_[next++];
        if (answer.empty()) break;
        if (answer == "hang") continue;
        const bool close_after = answer.find("cut") != std::string::npos;
        static_cast<void>(::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL));
        if (close_after) break;
      }
    }
  }
  bool read_request(const os::Fd& peer) {
    std::string request;
    std::array<char, 4096> buffer;
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(peer.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return false;
      request.append(buffer.data(), static_cast<std::size_t>(got));
    }
    requests += request;
    return true;
  }

  std::vector<std::string> answers_;
  std::filesystem::path directory_;
  os::Fd listener_;
  std::thread thread_;
};

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error");
  return ErrorCode::kInternal;
}

}  // namespace

TEST_CASE("calls share one connection and carry method, target and body") {
  ScriptedPeer peer({ok("one"), ok("two")});
  Client client(peer.socket);
  const auto first = client.call("GET", "/v1/runs?limit=1");
  CHECK(first.status == 200);
  CHECK(first.body == "one");
  CHECK(first.content_type == "text/plain");
  CHECK(client.call("POST", "/v1/runs", "{}").body == "two");
  CHECK(peer.connections == 1);
  CHECK(peer.requests.find("GET /v1/runs?limit=1 HTTP/1.1\r\nHost: ") == 0);
  CHECK(peer.requests.find("POST /v1/runs HTTP/1.1\r\n") != std::string::npos);
  CHECK(peer.requests.find("Content-Length: 2\r\n\r\n{}") != std::string::npos);
}

TEST_CASE("a chunked body is handed on in order, and the connection can be used again") {
  ScriptedPeer peer(
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", ok("after")});
  Client client(peer.socket);
  std::string got;
  client.stream("GET", "/log", [&](std::span<const std::byte> piece) {
    got.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  CHECK(got == "abcdefg");
  CHECK(client.call("GET", "/x").body == "after");
}

TEST_CASE("a large body arrives whole") {
  std::string body;
  for (int i = 0; i < 300'000; ++i) body += std::to_string(i);
  ScriptedPeer peer({ok(body)});
  Client client(peer.socket);
  CHECK(client.call("GET", "/x").body == body);
}

TEST_CASE("an error answer is thrown as the error it carries, from a stream too") {
  const std::string error = R"({"error": {"code": "notFound", "message": "no such run", "hint": "runner ls"}})";
  const std::string answer =
      "HTTP/1.1 404 Not Found\r\nContent-Length: " + std::to_string(error.size()) + "\r\n\r\n" + error;
  ScriptedPeer peer({answer, answer, ok("fine")});
  Client client(peer.socket);
  try {
    client.call("GET", "/x");
    FAIL("no error");
  } catch (const Error& caught) {
    CHECK(caught.code() == ErrorCode::kNotFound);
    CHECK(caught.message() == "no such run");
    CHECK(caught.hint() == "runner ls");
  }
  bool written = false;
  CHECK(code_of([&] { client.stream("GET", "/x", [&](auto) { written = true; }); }) == ErrorCode::kNotFound);
  CHECK_FALSE(written);
  CHECK(client.call("GET", "/x").body == "fine");
}

TEST_CASE("an answer cut short is ConnectionLost, whatever was missing, and the next call connects anew") {
  ScriptedPeer peer({"", "HTTP/1.1 200 OK\r\ncut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n", ok("back")});
  Client client(peer.socket);
  for (int i = 0; i < 4; ++i) CHECK_THROWS_AS(client.call("GET", "/x"), ConnectionLost);
  CHECK(client.call("GET", "/x").body == "back");
  CHECK(peer.connections == 5);
}

TEST_CASE("what arrived before the connection broke has been handed on") {
  ScriptedPeer peer({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n5\r\nhal"});
  Client client(peer.socket);
  std::string got;
  CHECK_THROWS_AS(client.stream("GET", "/x",
                                [&](std::span<const std::byte> piece) {
                                  got.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                                }),
                  ConnectionLost);
  CHECK(got == "cuthal");
}

TEST_CASE("an exception of the receiver passes through and leaves the client usable") {
  ScriptedPeer peer({ok("x"), ok("next")});
  Client client(peer.socket);
  CHECK_THROWS_AS(client.stream("GET", "/x", [](auto) { throw std::runtime_error("full"); }), std::runtime_error);
  CHECK(client.call("GET", "/x").body == "next");
}

TEST_CASE("a readable interrupt descriptor ends the wait for an answer") {
  ScriptedPeer peer({"hang", ok("later")});
  const os::Fd interrupt(::eventfd(0, EFD_CLOEXEC));
  Client client(peer.socket);
  client.interrupt_on(interrupt.get());
  std::thread sender([&] { ::eventfd_write(interrupt.get(), 1); });
  CHECK_THROWS_AS(client.call("GET", "/x"), runner::http::Interrupted);
  sender.join();
  client.interrupt_on(-1);
  CHECK(client.call("GET", "/x").body == "later");
}

TEST_CASE("bytes that are not HTTP are an internal error") {
  ScriptedPeer peer({"SSH-2.0-OpenSSH\r\n\r\n"});
  Client client(peer.socket);
  CHECK(code_of([&] { client.call("GET", "/x"); }) == ErrorCode::kInternal);
}

TEST_CASE("nobody listening is unavailable, a path over 107 bytes is invalid and says the way out") {
  CHECK(code_of([] { Client client("/nonexistent/socket"); }) == ErrorCode::kUnavailable);
  try {
    Client client("/tmp/" + std::string(103, 'a'));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message().find("107") != std::string::npos);
    CHECK_FALSE(error.hint().empty());
  }
}
