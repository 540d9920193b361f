// libcurl over a unix socket against a scripted server.
#include "runner/http/unix_transfers.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <condition_variable>
#include <semaphore>

#include "tests/unit/runner/http/scripted_server.hpp"

namespace runner::http::test {
namespace {

using Kind = TransferResult::Kind;
using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using std::chrono::milliseconds;

// Long enough for a busy machine; reached only by a test that fails.
constexpr std::chrono::seconds kPatience{20};

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

// Lets the server go on piece by piece; a test that has failed holds nobody up.
struct Gate {
  std::counting_semaphore<> open{0};
  std::function<void()> as_between() {
    return [this] { static_cast<void>(open.try_acquire_for(kPatience)); };
  }
};

}  // namespace

TEST_CASE("a request is sent as it was asked for: method, target, headers, body") {
  const ScriptedServer server({answer(201, R"({"Id":"abc"})")});
  UnixTransfers transfers(server.socket());
  const auto result = transfers.call({.method = "POST",
                                      .target = "/v1.41/containers/create?name=a%20b",
                                      .body = R"({"Image":"x"})",
                                      .headers = {"X-Registry-Auth: e30="}});
  CHECK(result.kind == Kind::kAnswered);
  CHECK(result.status == 201);
  CHECK(result.body == R"({"Id":"abc"})");
  CHECK(result.words.empty());
  const std::string request = server.requests().at(0);
  CHECK_THAT(request, StartsWith("POST /v1.41/containers/create?name=a%20b HTTP/1.1\r\nHost: engine\r\n"));
  CHECK_THAT(request, EndsWith("\r\n\r\n{\"Image\":\"x\"}"));
  CHECK(count(request, "X-Registry-Auth: e30=\r\n") == 1);
  CHECK(count(request, "Content-Type: application/json\r\n") == 1);
  CHECK(count(request, "Content-Type") == 1);
  CHECK(count(request, "Content-Length: 13\r\n") == 1);
  CHECK(count(request, "Expect") == 0);
}

TEST_CASE("an answer that came while another request was begun is not slept over") {
  Gate gate;  // the second answer never comes
  const ScriptedServer server(
      {answer(409, "{}"), {.pieces = {"", kChunkedHead + chunk("b")}, .between = gate.as_between()}});
  UnixTransfers transfers(server.socket());
  bool ended = false;
  transfers.begin({.target = "/first"}, [&](const TransferResult&) { ended = true; });
  while (server.requests().empty()) ::poll(nullptr, 0, 1);
  ::poll(nullptr, 0, 50);  // its answer is in the socket by now, at the latest on a busy machine in the next round
  transfers.begin({.target = "/second"}, {});
  std::array<int, 2> quiet{};
  REQUIRE(::pipe(quiet.data()) == 0);
  const auto before = std::chrono::steady_clock::now();
  pollfd watched{quiet[0], POLLIN, 0};
  while (!ended) transfers.wait({&watched, 1}, std::chrono::seconds(20));
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(15));
  gate.open.release();
  ::close(quiet[0]);
  ::close(quiet[1]);
}

TEST_CASE("a long body is sent without asking for permission first") {
  const ScriptedServer server({answer(200, "{}")});
  UnixTransfers transfers(server.socket());
  const std::string body(3 << 20, 'x');  // more than a megabyte: there libcurl would ask
  CHECK(transfers.call({.method = "POST", .target = "/x", .body = body}).status == 200);
  const std::string request = server.requests().at(0);
  CHECK(count(request, "Expect") == 0);
  CHECK(request.size() > body.size());
  CHECK(request.ends_with("\r\n\r\n" + body));
}

TEST_CASE("a POST without a body says so, other methods have none") {
  const ScriptedServer server(
      {answer(204, ""), answer(200, "{}"), {.pieces = {"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n"}}});
  UnixTransfers transfers(server.socket());
  CHECK(transfers.call({.method = "POST", .target = "/start"}).status == 204);
  CHECK(transfers.call({.method = "DELETE", .target = "/containers/x?force=1"}).status == 200);
  // A HEAD's answer has a length and no body: nothing is waited for.
  const auto head = transfers.call({.method = "HEAD", .target = "/_ping", .limit = kPatience});
  CHECK(head.kind == Kind::kAnswered);
  CHECK(head.body.empty());
  const auto requests = server.requests();
  CHECK_THAT(requests.at(0), StartsWith("POST /start HTTP/1.1\r\n") && Contains("Content-Length: 0\r\n"));
  CHECK_THAT(requests.at(1), StartsWith("DELETE /containers/x?force=1 HTTP/1.1\r\n") && !Contains("Content-"));
  CHECK_THAT(requests.at(2), StartsWith("HEAD /_ping HTTP/1.1\r\n"));
  CHECK(server.connections() == 1);
}

TEST_CASE("pieces are handed on as they come, before the answer is complete") {
  Gate gate;
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("one "), chunk("two "), chunk("three") + "0\r\n\r\n"},
                                .between = gate.as_between()}});
  UnixTransfers transfers(server.socket());
  std::vector<std::string> pieces;
  const auto result = transfers.call({.target = "/stream", .limit = kPatience, .on_piece = [&](std::string_view piece) {
                                        pieces.emplace_back(piece);
                                        gate.open.release();  // the server sends the next one only now
                                        return true;
                                      }});
  CHECK(result.kind == Kind::kAnswered);
  CHECK(result.status == 200);
  CHECK(result.body.empty());
  CHECK(pieces == std::vector<std::string>{"one ", "two ", "three"});
}

TEST_CASE("without on_piece a chunked answer is collected") {
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("ab"), chunk("cd") + "0\r\n\r\n"}}});
  UnixTransfers transfers(server.socket());
  CHECK(transfers.call({.target = "/x"}).body == "abcd");
}

TEST_CASE("an answer that is cut short is broken, whatever of it is missing") {
  const auto pieces = GENERATE(std::vector<std::string>{}, std::vector<std::string>{"HTTP/1.1 200"},
                               std::vector<std::string>{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"},
                               std::vector<std::string>{kChunkedHead + chunk("abc")},
                               std::vector<std::string>{std::string(kChunkedHead) + "8\r\nabc"});
  const ScriptedServer server({{.pieces = pieces, .close = true}});
  UnixTransfers transfers(server.socket());
  const auto result = transfers.call({.target = "/x", .limit = kPatience});
  CHECK(result.kind == Kind::kBroken);
  CHECK_FALSE(result.words.empty());
}

TEST_CASE("the pieces that came before the connection broke have been handed on") {
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("abc")}, .close = true}});
  UnixTransfers transfers(server.socket());
  std::string got;
  const auto result = transfers.call({.target = "/x", .on_piece = [&](std::string_view piece) {
                                        got += piece;
                                        return true;
                                      }});
  CHECK(result.kind == Kind::kBroken);
  CHECK(got == "abc");
}

TEST_CASE("a connection that was closed after an answer is made anew") {
  const ScriptedServer server({{.pieces = answer(200, "one").pieces, .close = true}, answer(200, "two")});
  UnixTransfers transfers(server.socket());
  CHECK(transfers.call({.target = "/x"}).body == "one");
  CHECK(transfers.call({.target = "/x"}).body == "two");
  CHECK(server.connections() == 2);
}

TEST_CASE("where nobody listens is unreachable, with the system's reason") {
  std::string directory = (std::filesystem::temp_directory_path() / "scripted-XXXXXX").string();
  REQUIRE(::mkdtemp(directory.data()) != nullptr);
  const std::filesystem::path place = std::filesystem::path(directory) / "s";
  UnixTransfers transfers(place);
  const auto missing = transfers.call({.target = "/x"});
  CHECK(missing.kind == Kind::kUnreachable);
  CHECK(missing.os_error == ENOENT);
  CHECK_FALSE(missing.words.empty());
  {
    const os::Fd bound(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, place.c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  const auto refused = transfers.call({.target = "/x"});
  CHECK(refused.kind == Kind::kUnreachable);
  CHECK(refused.os_error == ECONNREFUSED);
  std::filesystem::remove_all(directory);
}

TEST_CASE("a limit ends a transfer that hangs, before its answer or in the middle of it") {
  const auto pieces = GENERATE(std::vector<std::string>{}, std::vector<std::string>{kChunkedHead + chunk("abc")});
  const ScriptedServer server({{.pieces = pieces, .hang = true}});
  UnixTransfers transfers(server.socket());
  CHECK(transfers.call({.target = "/x", .limit = milliseconds(100)}).kind == Kind::kTimedOut);
}

TEST_CASE("on_piece ends a transfer with false") {
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("abc")}, .hang = true}});
  UnixTransfers transfers(server.socket());
  int pieces = 0;
  const auto result = transfers.call({.target = "/x", .limit = kPatience, .on_piece = [&](std::string_view) {
                                        ++pieces;
                                        return false;
                                      }});
  CHECK(result.kind == Kind::kStopped);
  CHECK(pieces == 1);
}

TEST_CASE("stop is asked while nothing comes, and ends the transfer") {
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("abc")}, .hang = true}});
  UnixTransfers transfers(server.socket());
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  // By then the first piece and everything that libcurl does at the beginning are long over.
  const auto stop = [&] { return Clock::now() - begin > milliseconds(500); };
  const auto result = transfers.call(
      {.target = "/x", .limit = kPatience, .on_piece = [](std::string_view) { return true; }, .stop = stop});
  CHECK(result.kind == Kind::kStopped);
  CHECK(Clock::now() - begin < kPatience / 2);
}

TEST_CASE("the body of an error is never handed on but collected") {
  const ScriptedServer server({answer(404, R"({"message":"no such image"})")});
  UnixTransfers transfers(server.socket());
  bool handed_on = false;
  const auto result = transfers.call({.target = "/x", .on_piece = [&](std::string_view) { return handed_on = true; }});
  CHECK(result.kind == Kind::kAnswered);
  CHECK(result.status == 404);
  CHECK(result.body == R"({"message":"no such image"})");
  CHECK_FALSE(handed_on);
}

TEST_CASE("an answer of any length can be streamed, a collected one has a bound that is named") {
  const ScriptedServer server(
      [](const std::string&) { return answer(200, std::string(UnixTransfers::kMostCollected + 1, 'x')); });
  UnixTransfers transfers(server.socket());
  const auto collected = transfers.call({.target = "/x"});
  CHECK(collected.kind == Kind::kBroken);
  CHECK_THAT(collected.words, Contains("more than 16777216 bytes"));
  std::size_t streamed = 0;
  const auto result = transfers.call({.target = "/x", .on_piece = [&](std::string_view piece) {
                                        streamed += piece.size();
                                        return true;
                                      }});
  CHECK(result.kind == Kind::kAnswered);
  CHECK(streamed == UnixTransfers::kMostCollected + 1);
}

TEST_CASE("several transfers go on at once, each with its own answer, and one may begin another") {
  std::mutex mutex;
  std::condition_variable all_there;
  int waiting = 0;
  const ScriptedServer server([&](const std::string& request) {
    // Nobody is answered before three have asked.
    std::unique_lock lock(mutex);
    ++waiting;
    all_there.notify_all();
    all_there.wait_for(lock, kPatience, [&] { return waiting >= 3; });
    return answer(200, request.substr(4, request.find(" HTTP") - 4));
  });
  UnixTransfers transfers(server.socket());
  std::vector<std::string> bodies;
  const auto collect = [&](const TransferResult& result) { bodies.push_back(result.body); };
  transfers.begin({.target = "/a"}, [&](const TransferResult& result) {
    collect(result);
    transfers.begin({.target = "/after-a"}, collect);
  });
  transfers.begin({.target = "/b"}, collect);
  transfers.begin({.target = "/c"}, collect);
  while (bodies.size() < 4) transfers.wait({}, kPatience);
  std::sort(bodies.begin(), bodies.end());
  CHECK(bodies == std::vector<std::string>{"/a", "/after-a", "/b", "/c"});
  CHECK(server.connections() == 3);
}

TEST_CASE("a wait ends when a watched descriptor is ready, and says which") {
  const ScriptedServer server(Answers{{.hang = true}});
  UnixTransfers transfers(server.socket());
  transfers.begin({.target = "/x"}, [](const TransferResult&) { FAIL("answered"); });
  const os::Fd silent(::eventfd(0, EFD_CLOEXEC));
  const os::Fd ready(::eventfd(1, EFD_CLOEXEC));
  std::array<pollfd, 2> watched{{{silent.get(), POLLIN, POLLIN}, {ready.get(), POLLIN, 0}}};
  while (watched[1].revents == 0) transfers.wait(watched, kPatience);
  CHECK(watched[0].revents == 0);
  CHECK(watched[1].revents == POLLIN);
}

TEST_CASE("the end of a watched socket wakes, too") {
  const ScriptedServer server(Answers{{.hang = true}});
  UnixTransfers transfers(server.socket());
  transfers.begin({.target = "/x"}, [](const TransferResult&) { FAIL("answered"); });
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0);
  const os::Fd ours(pair[0]);
  ::close(pair[1]);
  pollfd watched{ours.get(), POLLIN, 0};
  const auto begin = std::chrono::steady_clock::now();
  while (watched.revents == 0 && std::chrono::steady_clock::now() - begin < kPatience)
    transfers.wait({&watched, 1}, kPatience);
  CHECK(watched.revents != 0);
}

TEST_CASE("a wait has its limit, and without anything to wait for it returns at once") {
  UnixTransfers transfers("/nonexistent/socket");
  transfers.wait({}, std::nullopt);
  const os::Fd silent(::eventfd(0, EFD_CLOEXEC));
  pollfd watched{silent.get(), POLLIN, POLLIN};
  transfers.wait({&watched, 1}, milliseconds(1));
  CHECK(watched.revents == 0);
}

TEST_CASE("what is under way is dropped with the object") {
  const ScriptedServer server(Answers{{.hang = true}});
  bool called = false;
  {
    UnixTransfers transfers(server.socket());
    transfers.begin({.target = "/x"}, [&](const TransferResult&) { called = true; });
    transfers.wait({}, milliseconds(1));
  }
  CHECK_FALSE(called);
}

TEST_CASE("a proxy of the environment is not meant for a socket of this machine") {
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) ::setenv(name, "http://127.0.0.1:9", 1);
  const ScriptedServer server({answer(200, "direct")});
  UnixTransfers transfers(server.socket());
  const auto result = transfers.call({.target = "/version"});
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  CHECK(result.body == "direct");
  CHECK_THAT(server.requests().at(0), StartsWith("GET /version HTTP/1.1\r\n") && !Contains("Proxy"));
}

TEST_CASE("a body of unknown length is read piece by piece and sent in chunks") {
  // The scripted server takes a request for complete at its head; what follows is seen as the next one's beginning.
  const ScriptedServer server({{.pieces = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}}});
  UnixTransfers transfers(server.socket());
  int asked = 0;
  const auto result = transfers.call({.method = "POST",
                                      .target = "/build",
                                      .body_from = [&](std::span<std::byte> into) -> std::size_t {
                                        if (++asked > 3) return 0;
                                        std::fill_n(into.begin(), 5, static_cast<std::byte>('x'));
                                        return 5;
                                      },
                                      .headers = {"Content-Type: application/x-tar"}});
  CHECK(result.status == 200);
  CHECK(asked == 4);
  const std::string request = server.requests().at(0);
  CHECK_THAT(request, StartsWith("POST /build HTTP/1.1\r\n") && Contains("Transfer-Encoding: chunked\r\n"));
  CHECK(count(request, "Content-Type") == 1);
  CHECK(count(request, "Expect") == 0);
}

TEST_CASE("what a request's functions throw comes out of the call") {
  struct Thrown {};
  const ScriptedServer server({{.pieces = {kChunkedHead + chunk("a")}, .hang = true}, {.pieces = {}, .hang = true}});
  UnixTransfers transfers(server.socket());
  CHECK_THROWS_AS(
      transfers.call(
          {.target = "/x", .limit = kPatience, .on_piece = [](std::string_view) -> bool { throw Thrown(); }}),
      Thrown);
  CHECK_THROWS_AS(transfers.call({.target = "/x", .limit = kPatience, .stop = []() -> bool { throw Thrown(); }}),
                  Thrown);
  CHECK_THROWS_AS(transfers.call({.method = "POST",
                                  .target = "/x",
                                  .body_from = [](std::span<std::byte>) -> std::size_t { throw Thrown(); },
                                  .limit = kPatience}),
                  Thrown);
}

}  // namespace runner::http::test
