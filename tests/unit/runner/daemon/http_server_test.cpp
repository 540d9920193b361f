// The server against raw sockets: what a careless, slow or hostile peer may send, and what a good one must get.
#include "runner/daemon/http_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "raw_peer.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using runner::Error;
using runner::ErrorCode;
using runner::daemon::ClientGone;
using runner::daemon::Exchange;
using runner::daemon::HttpServer;
using runner::daemon::ServerLimits;
using runner::daemon::raw::bytes;
using runner::daemon::raw::echo;
using runner::daemon::raw::kGet;
using runner::daemon::raw::RawPeer;
using runner::daemon::raw::Server;
using runner::daemon::raw::TemporaryDirectory;
using runner::http::Request;
namespace os = runner::os;

TEST_CASE("a request's method, decoded path, query and body reach the handler") {
  Server server(echo);
  RawPeer peer(server.socket);
  peer.send("POST /v1/a%2Fb?tag=x%3Dy&tag=a+b HTTP/1.1\r\nHost: r\r\nContent-Length: 4\r\n\r\nbody");
  const auto answer = peer.read_until("|body");
  CHECK(answer.rfind("HTTP/1.1 200 OK\r\n", 0) == 0);
  CHECK(answer.find("Content-Type: text/plain\r\n") != std::string::npos);
  CHECK(answer.find("\r\n\r\nPOST v1 a/b tag=x=y tag=a b|body") != std::string::npos);
}

TEST_CASE("a chunked request body is put together") {
  Server server(echo);
  RawPeer peer(server.socket);
  peer.send("POST /x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  CHECK(peer.read_until("|abcde").find("POST x|abcde") != std::string::npos);
}

TEST_CASE("a connection serves one request after the other, pipelined ones in order") {
  Server server(echo);
  RawPeer peer(server.socket);
  for (int i = 0; i < 3; ++i) {
    peer.send(kGet);
    CHECK(peer.read_until("GET x|").find("200 OK") != std::string::npos);
  }
  peer.send("GET /1 HTTP/1.1\r\nHost: r\r\n\r\nGET /2 HTTP/1.1\r\nHost: r\r\n\r\n");
  const auto answers = peer.read_until("GET 2|");
  CHECK(answers.find("GET 1|") < answers.find("GET 2|"));
}

TEST_CASE("a request that arrives byte by byte is served") {
  Server server(echo);
  RawPeer peer(server.socket);
  for (const char c : std::string("POST /x HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\nhi")) peer.send({&c, 1});
  CHECK(peer.read_until("|hi").find("POST x|hi") != std::string::npos);
}

TEST_CASE("Connection: close and HTTP/1.0 end the connection after the answer") {
  Server server(echo);
  for (const std::string_view request :
       {"GET /x HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", "GET /x HTTP/1.0\r\n\r\n"}) {
    RawPeer peer(server.socket);
    peer.send(request);
    const auto answer = peer.read_to_end();
    CHECK(answer.find("Connection: close\r\n") != std::string::npos);
    CHECK(answer.find("GET x|") != std::string::npos);
  }
}

TEST_CASE("malformed requests are answered 400 and the connection is closed") {
  Server server(echo);
  const std::string nul("GET /\0 HTTP/1.1\r\nHost: r\r\n\r\n", 29);
  for (const std::string& request :
       {std::string("nonsense\r\n\r\n"), std::string("GET /x HTTP/9.9\r\n\r\n"), std::string("GET x HTTP/1.1\r\n\r\n"),
        std::string("GET /%zz HTTP/1.1\r\n\r\n"), std::string("GET /%00 HTTP/1.1\r\n\r\n"), nul,
        std::string("GET /x HTTP/1.1\r\nBad Header: 1\r\n\r\n"),
        std::string("POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string("POST /x HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        std::string("POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        std::string("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    INFO(request);
    RawPeer peer(server.socket);
    peer.send(request);
    const auto answer = peer.read_to_end();
    CHECK(answer.rfind("HTTP/1.1 400 Bad Request\r\n", 0) == 0);
    CHECK(answer.find(R"("code":"invalid")") != std::string::npos);
  }
}

TEST_CASE("too large a header is 431 and too large a body 413, whether announced or chunked") {
  Server server(echo, {.header_bytes = 1024, .body_bytes = 1000});
  const auto status_of = [&](const std::string& request) {
    RawPeer peer(server.socket);
    peer.send(request);
    return peer.read_to_end().substr(0, 12);
  };
  CHECK(status_of("GET /x HTTP/1.1\r\nA: " + std::string(5000, 'a') + "\r\n\r\n") == "HTTP/1.1 431");
  CHECK(status_of("GET /" + std::string(5000, 'a') + " HTTP/1.1\r\n\r\n") == "HTTP/1.1 431");
  CHECK(status_of("POST /x HTTP/1.1\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'b')) == "HTTP/1.1 413");
  CHECK(status_of("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'b') +
                  "\r\n0\r\n\r\n") == "HTTP/1.1 413");
  CHECK(status_of("POST /x HTTP/1.1\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'b')) ==
        "HTTP/1.1 200");
}

TEST_CASE("a refused upload can still read why, though it was in the middle of sending") {
  Server server(echo, {.body_bytes = 1000});
  RawPeer peer(server.socket);
  std::thread sender(
      [&] { peer.send("POST /x HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n" + std::string(4'000'000, 'b')); });
  const auto answer = peer.read_to_end();
  sender.join();
  CHECK(answer.rfind("HTTP/1.1 413", 0) == 0);
}

TEST_CASE("Expect: 100-continue is answered before the body is sent") {
  Server server(echo);
  RawPeer peer(server.socket);
  peer.send("POST /x HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(peer.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("hi");
  CHECK(peer.read_until("|hi").find("200 OK") != std::string::npos);
}

TEST_CASE("a request that stalls is answered 408 at the read limit") {
  Server server(echo, {.read = 50ms});
  for (const std::string_view part : {"GET /x HT", "POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"}) {
    RawPeer peer(server.socket);
    peer.send(part);
    CHECK(peer.read_to_end().rfind("HTTP/1.1 408 Request Timeout\r\n", 0) == 0);
  }
}

TEST_CASE("an idle connection is not subject to the read limit") {
  Server server(echo, {.read = 10ms});
  RawPeer peer(server.socket);
  pollfd quiet{};
  ::poll(&quiet, 0, 60);  // several limits long
  peer.send(kGet);
  CHECK(peer.read_until("GET x|").find("200 OK") != std::string::npos);
}

TEST_CASE("a peer that half-closes gets the answer to a whole request and 400 for half of one") {
  Server server(echo);
  RawPeer whole(server.socket);
  whole.send(kGet);
  whole.finish_sending();
  CHECK(whole.read_to_end().find("GET x|") != std::string::npos);

  RawPeer half(server.socket);
  half.send("GET /x HTTP/1.1\r\nHo");
  half.finish_sending();
  CHECK(half.read_to_end().rfind("HTTP/1.1 400", 0) == 0);

  RawPeer nothing(server.socket);
  nothing.finish_sending();
  CHECK(nothing.is_closed());
}

TEST_CASE("errors of the handler become JSON with the mapped status, and the connection lives on") {
  Server server([](const Request& request, Exchange& exchange) {
    if (request.path.at(0) == "missing") throw Error(ErrorCode::kNotFound, "no run \"x\"", "runner ls");
    if (request.path.at(0) == "defect") throw std::runtime_error("boom");
    if (request.path.at(0) == "silent") return;
    echo(request, exchange);
  });
  RawPeer peer(server.socket);
  peer.send("GET /missing HTTP/1.1\r\nHost: r\r\n\r\n");
  auto answer = peer.read_until("}}");
  CHECK(answer.rfind("HTTP/1.1 404 Not Found\r\n", 0) == 0);
  CHECK(answer.find(R"({"error":{"code":"notFound","hint":"runner ls","message":"no run \"x\""}})") !=
        std::string::npos);
  for (const std::string_view path : {"/defect", "/silent"}) {
    peer.send("GET " + std::string(path) + " HTTP/1.1\r\nHost: r\r\n\r\n");
    answer = peer.read_until("}}");
    CHECK(answer.rfind("HTTP/1.1 500 Internal Server Error\r\n", 0) == 0);
    CHECK(answer.find(R"("code":"internal")") != std::string::npos);
  }
  peer.send(kGet);
  CHECK(peer.read_until("GET x|").find("200 OK") != std::string::npos);
}

TEST_CASE("a stream of unknown length is chunked, one of known length is not, and the connection lives on") {
  Server server([](const Request& request, Exchange& exchange) {
    const bool known = request.path.at(0) == "known";
    exchange.start_stream(200, "text/plain", known ? std::optional<std::int64_t>(6) : std::nullopt);
    exchange.write(bytes("abc"));
    exchange.write(bytes(""));
    exchange.write(bytes("def"));
    exchange.finish_stream();
  });
  RawPeer peer(server.socket);
  peer.send("GET /unknown HTTP/1.1\r\nHost: r\r\n\r\n");
  CHECK(peer.read_until("\r\n0\r\n\r\n").find("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n") !=
        std::string::npos);
  peer.send("GET /known HTTP/1.1\r\nHost: r\r\n\r\n");
  CHECK(peer.read_until("abcdef").find("Content-Length: 6\r\n\r\nabcdef") != std::string::npos);

  RawPeer old(server.socket);
  old.send("GET /unknown HTTP/1.0\r\n\r\n");
  const auto answer = old.read_to_end();
  CHECK(answer.find("chunked") == std::string::npos);
  CHECK(answer.substr(answer.size() - 10) == "\r\n\r\nabcdef");
}

TEST_CASE("an error in the middle of a stream cuts the connection, so that nobody takes the part for the whole") {
  Server server([](const Request&, Exchange& exchange) {
    exchange.start_stream(200, "text/plain", std::nullopt);
    exchange.write(bytes("part"));
    throw Error(ErrorCode::kInternal, "the disk is gone");
  });
  RawPeer peer(server.socket);
  peer.send(kGet);
  const auto answer = peer.read_to_end();
  CHECK(answer.find("4\r\npart\r\n") != std::string::npos);
  CHECK(answer.find("\r\n0\r\n\r\n") == std::string::npos);
}

TEST_CASE("wait() returns on its descriptor and at its limit, and throws ClientGone when the peer closes") {
  const os::Fd wake(::eventfd(0, EFD_CLOEXEC));
  std::atomic<int> gone{0};
  std::atomic<bool> limit_reached{false};
  const os::Fd noticed(::eventfd(0, EFD_CLOEXEC));
  Server server([&](const Request& request, Exchange& exchange) {
    if (request.path.at(0) == "limit") {
      limit_reached = exchange.wait(noticed.get(), 5ms);
      exchange.respond({.status = 200, .body = "limit"});
      return;
    }
    exchange.start_stream(200, "text/plain", std::nullopt);
    exchange.write(bytes("first"));
    try {
      while (exchange.wait(wake.get(), std::nullopt)) {
        eventfd_t count = 0;
        ::eventfd_read(wake.get(), &count);
        exchange.write(bytes("woken"));
      }
    } catch (const ClientGone&) {
      ++gone;
      ::eventfd_write(noticed.get(), 1);
      throw;
    }
  });
  RawPeer quick(server.socket);
  quick.send("GET /limit HTTP/1.1\r\nHost: r\r\n\r\n");
  CHECK(quick.read_until("limit").find("200 OK") != std::string::npos);
  CHECK(limit_reached);

  RawPeer peer(server.socket);
  peer.send(kGet);
  peer.read_until("first\r\n");
  peer.finish_sending();  // still listening: not gone
  ::eventfd_write(wake.get(), 1);
  peer.read_until("woken\r\n");
  CHECK(gone == 0);
  peer.close();
  pollfd polled{noticed.get(), POLLIN, 0};
  REQUIRE(::poll(&polled, 1, 10'000) == 1);
  CHECK(gone == 1);
}

TEST_CASE("a peer that does not read is given up at the write limit") {
  std::atomic<bool> gone{false};
  const os::Fd noticed(::eventfd(0, EFD_CLOEXEC));
  Server server(
      [&](const Request&, Exchange& exchange) {
        const std::string piece(1 << 20, 'x');
        exchange.start_stream(200, "text/plain", std::nullopt);
        try {
          for (;;) exchange.write(bytes(piece));
        } catch (const ClientGone&) {
          gone = true;
          ::eventfd_write(noticed.get(), 1);
          throw;
        }
      },
      {.write = 50ms});
  RawPeer peer(server.socket);
  peer.send(kGet);
  pollfd polled{noticed.get(), POLLIN, 0};
  REQUIRE(::poll(&polled, 1, 10'000) == 1);
  CHECK(gone);
}

TEST_CASE("the shutdown wakes waiting streams, closes idle and half-read connections and takes less than two seconds") {
  std::atomic<bool> told{false};
  const os::Fd never(::eventfd(0, EFD_CLOEXEC));
  Server server([&](const Request& request, Exchange& exchange) {
    exchange.start_stream(200, "text/plain", std::nullopt);
    exchange.write(bytes("begun"));
    if (request.path.at(0) == "flood")
      for (const std::string piece(1 << 20, 'x');;) exchange.write(bytes(piece));
    told = !exchange.wait(never.get(), std::nullopt);
  });
  RawPeer idle(server.socket);
  RawPeer half(server.socket);
  half.send("GET /x HT");
  RawPeer streaming(server.socket);
  streaming.send(kGet);
  streaming.read_until("begun");
  RawPeer flooded(server.socket);
  flooded.send("GET /flood HTTP/1.1\r\nHost: r\r\n\r\n");
  flooded.read_until("begun");
  const auto before = os::monotonic_now();
  server.http.reset();
  CHECK(os::monotonic_now() - before < 2s);
  CHECK(told);
  CHECK(idle.is_closed());
  CHECK(half.is_closed());
  CHECK(streaming.read_to_end().find("\r\n0\r\n\r\n") == std::string::npos);
  CHECK_FALSE(std::filesystem::exists(server.socket));
}

TEST_CASE("the socket is the owner's alone, replaces a dead one, and its path is at most 107 bytes long") {
  const TemporaryDirectory directory;
  const auto socket = directory.path / "s";
  { const os::Fd dead(::open(socket.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666)); }
  const HttpServer server(socket, echo);
  struct ::stat info {};
  REQUIRE(::stat(socket.c_str(), &info) == 0);
  CHECK(S_ISSOCK(info.st_mode));
  CHECK((info.st_mode & 0777) == 0600);
  RawPeer peer(socket);
  peer.send(kGet);
  CHECK(peer.read_until("GET x|").find("200 OK") != std::string::npos);

  const auto long_path = directory.path / std::string(108, 'a');
  try {
    const HttpServer refused(long_path, echo);
    FAIL("bound " << long_path);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_FALSE(error.hint().empty());
  }
}

TEST_CASE("many peers at once each get their own answer") {
  Server server(echo);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      RawPeer peer(server.socket);
      for (int i = 0; i < 50; ++i) {
        const std::string name = std::to_string(t) + "-" + std::to_string(i);
        peer.send("GET /" + name + " HTTP/1.1\r\nHost: r\r\n\r\n");
        if (peer.read_until("|").find("GET " + name + "|") != std::string::npos) ++right;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(right == 16 * 50);
}
