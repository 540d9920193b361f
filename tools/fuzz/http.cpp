// HTTP as anybody who can open the socket may speak it.
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "runner/daemon/http_connection.hpp"
#include "runner/http/byte_range.hpp"
#include "runner/http/message.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"
#include "runner/pipeline/run_token.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void read_target(std::string_view target) {
  http::Request request;
  http::parse_target(target, request);
  request.parameter("a");
  const std::string text(target);
  http::Request again;
  if (!text.empty() && text.find('\0') == std::string::npos)
    fuzz::require(
        http::parse_target("/" + http::percent_encode(text), again) && again.path.size() == 1 && again.path[0] == text,
        "a segment survives its encoding", text);
}

void read_token(std::string_view token) {
  static const pipeline::RunTokens tokens(pipeline::RunTokens::Key{});
  const auto owner = tokens.owner_of(token);
  fuzz::require(!owner || tokens.token_of(*owner) == token, "a token is what was made as one", token);
}

void read_range(fuzz::Input input) {
  const auto size = static_cast<std::int64_t>(input.take_until('\n').size()) * 100;
  const auto answer = http::resolve_range(input.rest(), size);
  if (answer.part)
    fuzz::require(0 <= answer.part->begin && answer.part->begin < answer.part->end && answer.part->end <= size,
                  "a range is within its content", input.rest());
}

std::string everything(int fd) {
  std::string text;
  std::array<char, 65536> buffer;
  for (ssize_t got = 0; (got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(got));
  return text;
}

// The requests of one peer, who says nothing more afterwards. Each answer begins as one.
void serve(std::string_view bytes) {
  static daemon::ServerState server{.handler =
                                        [](const http::Request& request, daemon::Exchange& exchange) {
                                          if (request.method == "POST") throw Error(ErrorCode::kInvalid, request.body);
                                          if (request.path.size() == 1) {
                                            exchange.start_stream(200, "text/plain", std::nullopt);
                                            exchange.write(std::as_bytes(std::span(request.path[0])));
                                            return exchange.finish_stream();
                                          }
                                          exchange.respond({.status = 200, .body = "{}"});
                                        },
                                    .limits = {.connections = 1,
                                               .header_bytes = 2048,
                                               .body_bytes = 4096,
                                               .read = std::chrono::milliseconds(200),
                                               .write = std::chrono::milliseconds(200)},
                                    .stopping = os::Fd(::eventfd(0, EFD_CLOEXEC))};
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) std::abort();
  const os::Fd peer(pair[0]);
  daemon::PeerSocket socket(os::Fd(pair[1]), os::monotonic_now().count());
  if (::send(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) != static_cast<ssize_t>(bytes.size())) return;
  ::shutdown(peer.get(), SHUT_WR);
  daemon::serve_connection(socket, server);
  socket.close();
  const std::string answer = everything(peer.get());
  fuzz::require(answer.empty() || answer.starts_with("HTTP/1.1 "), "an answer is HTTP", bytes, answer);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(4)) {
    case 0:
      read_target(input.rest());
      read_token(input.rest());
      break;
    case 1:
      read_range(input);
      break;
    case 2: {
      const auto status = static_cast<int>(input.take_until('\n').size()) + 400;
      http::error_json(http::error_from({.status = status, .body = std::string(input.rest())}));
      break;
    }
    default:
      serve(input.rest());
  }
  return 0;
}
