// A server that asks of every request whose it is: who gets no answer, and how many connections one owner has.
#include <sys/eventfd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <vector>

#include "raw_peer.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using runner::Error;
using runner::ErrorCode;
using runner::daemon::Exchange;
using runner::daemon::HttpServer;
using runner::daemon::ServerAccess;
using runner::daemon::ServerLimits;
using runner::daemon::raw::bytes;
using runner::daemon::raw::RawPeer;
using runner::daemon::raw::TemporaryDirectory;
using runner::http::Request;
namespace os = runner::os;

namespace {

// Tokens are the owners' names behind "of-".
ServerAccess named(std::size_t connections = 8, std::size_t waiting = 6) {
  return {.owner_of = [](std::string_view authorization) -> std::optional<std::string> {
            if (authorization == "broken") throw Error(ErrorCode::kInternal, "the table is gone");
            if (!authorization.starts_with("of-")) return std::nullopt;
            return std::string(authorization.substr(3));
          },
          .connections = connections,
          .waiting = waiting};
}

// Answers whose request it is; /wait when `wake` is readable.
struct Guarded {
  explicit Guarded(ServerAccess access, ServerLimits limits = {.patience = 50ms})
      : server(
            socket(), [this](const Request& request, Exchange& exchange) { answer(request, exchange); }, limits,
            std::move(access)) {}
  std::filesystem::path socket() const { return directory.path / "s"; }
  void answer(const Request& request, Exchange& exchange) const {
    if (request.path.front() == "close") exchange.close_afterwards();
    if (request.path.front() == "wait") {
      exchange.expect_to_wait();
      exchange.start_stream(200, "text/plain", std::nullopt);
      exchange.write(bytes("waiting\r\n"));
      exchange.wait(wake.get(), std::nullopt);
      return exchange.finish_stream();
    }
    exchange.respond({.status = 200, .body = "owner " + exchange.owner() + ";", .content_type = "text/plain"});
  }
  TemporaryDirectory directory;
  const os::Fd wake{::eventfd(0, EFD_CLOEXEC)};
  HttpServer server;
};

std::string get(std::string_view path, std::string_view authorization) {
  std::string text = "GET /" + std::string(path) + " HTTP/1.1\r\nHost: r\r\n";
  if (!authorization.empty()) text.append("Authorization: ").append(authorization).append("\r\n");
  return text + "\r\n";
}

}  // namespace

TEST_CASE("a request that is nobody's is refused before its body is read, and ends the connection") {
  const Guarded guarded(named());
  for (const char* wrong : {"", "x", "of"}) {
    RawPeer peer(guarded.socket());
    std::string text = get("x", wrong);
    text.replace(0, 3, "POST");
    text.insert(text.size() - 2, "Content-Length: 1000000\r\n");  // of which nothing comes
    peer.send(text);
    const auto answer = peer.read_to_end();
    CHECK(answer.rfind("HTTP/1.1 401", 0) == 0);
    CHECK(answer.find("WWW-Authenticate: Bearer") != std::string::npos);
    CHECK(answer.find("Connection: close") != std::string::npos);
    CHECK(answer.find(R"("code":"permission")") != std::string::npos);
  }
}

TEST_CASE("each request of a connection is judged by itself") {
  const Guarded guarded(named());
  RawPeer peer(guarded.socket());
  peer.send(get("x", "of-a"));
  CHECK(peer.read_until("owner a;").rfind("HTTP/1.1 200", 0) == 0);
  peer.send(get("x", "of-b"));
  CHECK(peer.read_until("owner b;").rfind("HTTP/1.1 200", 0) == 0);
  peer.send(get("x", ""));
  CHECK(peer.read_to_end().rfind("HTTP/1.1 401", 0) == 0);
}

TEST_CASE("what stands in the way of knowing whose it is, is the answer") {
  const Guarded guarded(named());
  RawPeer peer(guarded.socket());
  peer.send(get("x", "broken"));
  const auto answer = peer.read_to_end();
  CHECK(answer.rfind("HTTP/1.1 500", 0) == 0);
  CHECK(answer.find("the table is gone") != std::string::npos);
}

TEST_CASE("one connection too many of an owner turns out an idle one of its own, and nobody else's") {
  const Guarded guarded(named(2), {.patience = 500ms});
  const auto asked = [&](const char* owner) {
    auto peer = std::make_unique<RawPeer>(guarded.socket());
    peer->send(get("x", std::string("of-") + owner));
    CHECK(peer->read_until(";").rfind("HTTP/1.1 200", 0) == 0);
    return peer;
  };
  const auto others = asked("b");
  const auto first = asked("a");
  const auto second = asked("a");
  const auto third = asked("a");
  const auto is_answered = [&](RawPeer& peer, const char* authorization) {
    peer.send(get("x", authorization));
    return peer.read_until(";").rfind("HTTP/1.1 200", 0) == 0;  // nothing comes from one that is closed
  };
  CHECK(is_answered(*others, "of-b"));
  CHECK(is_answered(*third, "of-a"));
  CHECK(is_answered(*first, "of-a") != is_answered(*second, "of-a"));
}

TEST_CASE("an owner all of whose connections are being served gets no further one until one of them ends") {
  const Guarded guarded(named(2));
  RawPeer first(guarded.socket());
  RawPeer second(guarded.socket());
  for (RawPeer* peer : {&first, &second}) {
    peer->send(get("wait", "of-a"));
    peer->read_until("waiting\r\n");
  }
  RawPeer third(guarded.socket());
  third.send(get("x", "of-a"));
  const auto answer = third.read_to_end();
  CHECK(answer.rfind("HTTP/1.1 503", 0) == 0);
  CHECK(answer.find("Connection: close") != std::string::npos);
  RawPeer other(guarded.socket());
  other.send(get("x", "of-b"));
  CHECK(other.read_until(";").rfind("HTTP/1.1 200", 0) == 0);
  ::eventfd_write(guarded.wake.get(), 1);
  first.read_until("0\r\n\r\n");
  bool served = false;
  const auto deadline = os::monotonic_now() + 10s;
  while (!served && os::monotonic_now() < deadline) {  // the threads of both need a moment
    RawPeer again(guarded.socket());
    again.send(get("x", "of-a"));
    served = again.read_until("\r\n\r\n").rfind("HTTP/1.1 200", 0) == 0;
  }
  CHECK(served);
}

TEST_CASE("an owner's answers that take as long as a run leave it places for others") {
  const Guarded guarded(named(4, 1));
  RawPeer first(guarded.socket());
  first.send(get("wait", "of-a"));
  first.read_until("waiting\r\n");
  RawPeer second(guarded.socket());
  second.send(get("wait", "of-a"));
  CHECK(second.read_until("}}").rfind("HTTP/1.1 503", 0) == 0);
  second.send(get("x", "of-a"));  // the connection lives on
  CHECK(second.read_until(";").rfind("HTTP/1.1 200", 0) == 0);
  RawPeer other(guarded.socket());
  other.send(get("wait", "of-b"));
  CHECK(other.read_until("waiting\r\n").rfind("HTTP/1.1 200", 0) == 0);
  ::eventfd_write(guarded.wake.get(), 1);
  first.read_until("0\r\n\r\n");
  bool served = false;  // its place comes back, a moment after the answer
  const auto deadline = os::monotonic_now() + 10s;
  while (!served && os::monotonic_now() < deadline) {
    second.send(get("wait", "of-a"));
    const auto answer = second.read_until("\r\n\r\n");
    served = answer.rfind("HTTP/1.1 200", 0) == 0;
    if (!served && answer.find("}}") == std::string::npos) second.read_until("}}");
  }
  CHECK(served);
}

TEST_CASE("a flood of connections of nobody's keeps no owner from being answered") {
  const Guarded guarded(named(), {.connections = 16, .patience = 1ms});
  std::vector<std::unique_ptr<RawPeer>> flood;
  for (int i = 0; i < 200; ++i) {
    flood.push_back(std::make_unique<RawPeer>(guarded.socket()));
    if (i % 2 == 0) flood.back()->send(get("x", "x"));
  }
  RawPeer peer(guarded.socket());
  peer.send(get("x", "of-a"));
  CHECK(peer.read_until(";").rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("a handler can have the connection closed with its answer") {
  const Guarded guarded(named());
  RawPeer peer(guarded.socket());
  peer.send(get("close", "of-a"));
  const auto answer = peer.read_to_end();
  CHECK(answer.rfind("HTTP/1.1 200", 0) == 0);
  CHECK(answer.find("Connection: close") != std::string::npos);
}
