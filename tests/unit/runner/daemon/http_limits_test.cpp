// How many peers, followers and large bodies a server takes, and who makes room for whom.
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

#include "raw_peer.hpp"
#include "runner/daemon/http_connection.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using runner::daemon::Exchange;
using runner::daemon::raw::bytes;
using runner::daemon::raw::echo;
using runner::daemon::raw::kGet;
using runner::daemon::raw::RawPeer;
using runner::daemon::raw::Server;
using runner::http::Request;
namespace os = runner::os;

namespace {

// Answers /x at once, and /wait when `wake` is readable.
struct Waiting {
  const os::Fd wake{::eventfd(0, EFD_CLOEXEC)};
  void operator()(const Request& request, Exchange& exchange) const {
    if (request.path.front() == "wait") {
      exchange.expect_to_wait();
      exchange.start_stream(200, "text/plain", std::nullopt);
      exchange.write(bytes("waiting\r\n"));
      exchange.wait(wake.get(), std::nullopt);
      exchange.finish_stream();
      return;
    }
    echo(request, exchange);
  }
};
constexpr std::string_view kWait = "GET /wait HTTP/1.1\r\nHost: r\r\n\r\n";

// Each is being served from now on.
void wait_on(std::initializer_list<RawPeer*> peers) {
  for (RawPeer* peer : peers) {
    peer->send(kWait);
    peer->read_until("waiting\r\n");
  }
}

}  // namespace

TEST_CASE("where everybody is being served, one connection too many is answered 503, and there is room when one ends") {
  Waiting waiting;
  Server server(std::ref(waiting), {.connections = 2, .patience = 10ms, .turn = 10ms});
  RawPeer first(server.socket);
  RawPeer second(server.socket);
  wait_on({&first, &second});
  RawPeer third(server.socket);
  const auto answer = third.read_to_end();
  CHECK(answer.rfind("HTTP/1.1 503", 0) == 0);
  CHECK(answer.find(R"("code":"unavailable")") != std::string::npos);
  second.close();
  bool served = false;
  const auto deadline = os::monotonic_now() + 10s;
  while (!served && os::monotonic_now() < deadline) {  // the thread of the second needs a moment to end
    RawPeer again(server.socket);
    again.send(kGet);
    served = again.read_until("\r\n\r\n").rfind("HTTP/1.1 200", 0) == 0;
  }
  CHECK(served);
}

TEST_CASE("where everybody is being served, one connection too many waits for its turn before it is refused") {
  Waiting waiting;
  Server server(std::ref(waiting), {.connections = 2, .patience = 1ms, .turn = 60s});
  RawPeer first(server.socket);
  RawPeer second(server.socket);
  wait_on({&first, &second});
  RawPeer third(server.socket);
  third.send(kGet);
  std::this_thread::sleep_for(50ms);
  second.close();
  CHECK(third.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("one connection too many turns out the peer that has owed a whole request longest, and nobody else") {
  Waiting waiting;
  Server server(std::ref(waiting), {.connections = 4, .patience = 10ms});
  RawPeer busy(server.socket);
  busy.send(kWait);
  busy.read_until("waiting\r\n");
  RawPeer slow(server.socket);
  slow.send("GET /x HTTP/1.1\r\nHo");
  RawPeer idle(server.socket);
  RawPeer used(server.socket);
  used.send(kGet);
  used.read_until("GET x|");
  RawPeer next(server.socket);
  next.send(kGet);
  CHECK(next.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
  CHECK(slow.is_closed());
  RawPeer another(server.socket);
  another.send(kGet);
  CHECK(another.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
  CHECK(idle.is_closed());
  used.send(kGet);
  CHECK(used.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
  ::eventfd_write(waiting.wake.get(), 1);
  CHECK(busy.read_until("0\r\n\r\n").ends_with("0\r\n\r\n"));
}

TEST_CASE("a flood of connections that ask for nothing keeps nobody from being answered") {
  Server server(echo, {.connections = 16, .patience = 1ms});
  std::vector<std::unique_ptr<RawPeer>> flood;
  for (int i = 0; i < 300; ++i) flood.push_back(std::make_unique<RawPeer>(server.socket));
  RawPeer peer(server.socket);
  peer.send(kGet);
  CHECK(peer.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("answers that take as long as a run leave places for those that do not") {
  Waiting waiting;
  Server server(std::ref(waiting), {.connections = 4, .waiting = 2});
  RawPeer first(server.socket);
  RawPeer second(server.socket);
  wait_on({&first, &second});
  RawPeer third(server.socket);
  third.send(kWait);
  CHECK(third.read_until("}}").find("503") != std::string::npos);
  third.send(kGet);  // the connection lives on
  CHECK(third.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
  ::eventfd_write(waiting.wake.get(), 1);
  first.read_until("0\r\n\r\n");
  third.send(kWait);  // its place has come back
  CHECK(third.read_until("0\r\n\r\n").rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("only so many large bodies are taken in at once, and small requests all the while") {
  Server server(echo, {.large_bodies = 1});
  const std::string half(2 << 20, 'x');
  RawPeer first(server.socket);
  first.send("POST /x HTTP/1.1\r\nHost: r\r\nContent-Length: 4194304\r\n\r\n" + half);
  RawPeer small(server.socket);
  small.send(kGet);
  CHECK(small.read_until("GET x|").rfind("HTTP/1.1 200", 0) == 0);
  std::string answer;
  const auto deadline = os::monotonic_now() + 10s;
  while (answer.find("503") == std::string::npos && os::monotonic_now() < deadline) {  // until the first's is read
    RawPeer second(server.socket);
    second.send("POST /x HTTP/1.1\r\nHost: r\r\nContent-Length: 4194304\r\n\r\n" + half);
    answer = second.read_until("}}");
  }
  CHECK(answer.find("503") != std::string::npos);
  CHECK(answer.find("too many large requests") != std::string::npos);
  first.send(half);
  CHECK(first.read_until("POST x|").rfind("HTTP/1.1 200", 0) == 0);
}

TEST_CASE("a line that never ends is refused, wherever it stands") {
  Server server(echo);
  const std::string endless(200'000, 'x');
  const std::string chunked = "POST /x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& request : {"GET /" + endless, "GET /x HTTP/1.1\r\nA: " + endless, chunked + "1;" + endless,
                                     chunked + "0\r\nA: " + endless}) {
    RawPeer peer(server.socket);
    peer.send(request);
    const auto answer = peer.read_to_end();
    CAPTURE(request.substr(0, 80));
    CHECK(answer.rfind("HTTP/1.1 4", 0) == 0);
  }
}

TEST_CASE("a peer that was turned out before its thread came to it is not served") {
  bool called = false;
  runner::daemon::ServerState server{.handler = [&](const Request&, Exchange&) { called = true; },
                                     .limits = {},
                                     .stopping = os::Fd(::eventfd(0, EFD_CLOEXEC))};
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  const os::Fd peer(pair[0]);
  runner::daemon::PeerSocket socket(os::Fd(pair[1]), runner::daemon::kTurnedOut);
  REQUIRE(::send(peer.get(), kGet.data(), kGet.size(), 0) == static_cast<ssize_t>(kGet.size()));
  runner::daemon::serve_connection(socket, server);
  CHECK_FALSE(called);
  CHECK(socket.owed_since == runner::daemon::kTurnedOut);
}

TEST_CASE("a peer that reads a little now and then is given up like one that reads nothing") {
  const std::string large(16 << 20, 'x');
  std::atomic<bool> gone{false};
  Server server(
      [&](const Request&, Exchange& exchange) {
        try {
          exchange.respond({.status = 200, .body = large});
        } catch (const runner::daemon::ClientGone&) {
          gone = true;
          throw;
        }
      },
      {.write = 100ms, .least_rate = 64 << 20});
  RawPeer slow(server.socket);
  slow.send(kGet);
  const auto begin = std::chrono::steady_clock::now();
  while (!gone && std::chrono::steady_clock::now() - begin < 3s) {
    slow.read_some(40 << 10);
    std::this_thread::sleep_for(30ms);  // its time does not begin anew with each of these
  }
  CHECK(gone);
}
