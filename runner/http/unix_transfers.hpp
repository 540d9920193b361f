// HTTP requests to a foreign server on a unix socket (the Docker Engine), through libcurl. Any number at once on one
// thread; nothing here has a thread of its own. Not for the command line: linking libcurl costs a start 3 ms.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::http {

// What its functions throw ends the transfer and comes out of call(), or is in TransferResult::thrown.
struct TransferRequest {
  std::string method = "GET";
  std::string target{};  // encoded: "/v1.41/containers/json?all=1"
  std::string body{};    // JSON; empty: none
  // A body of any length in place of `body`, read as the server takes it and sent in chunks; its Content-Type belongs
  // into `headers`.
  ReadSome body_from{};
  std::vector<std::string> headers{};                // "Name: value"
  std::optional<std::chrono::milliseconds> limit{};  // for the whole of it; none: as long as it takes
  // Pieces of a successful (< 300) answer's body as they come; false ends the transfer (kStopped). Without it the body
  // is collected, at most kMostCollected bytes (then kBroken).
  std::function<bool(std::string_view piece)> on_piece{};
  // Asked about once a second while the transfer goes on; true ends it (kStopped).
  std::function<bool()> stop{};
};

struct TransferResult {
  enum class Kind {
    kAnswered,     // `status` and `body`
    kUnreachable,  // no connection: `os_error` is its errno
    kBroken,       // the connection ended before the answer did
    kTimedOut,
    kStopped,  // by on_piece, stop or body_from
  };
  Kind kind = Kind::kBroken;
  int status = 0;
  std::string body{};
  int os_error = 0;
  std::string words{};          // libcurl's, unless kAnswered
  std::exception_ptr thrown{};  // by one of the request's functions
};

class UnixTransfers {
 public:
  static constexpr std::size_t kMostCollected = 16 << 20;  // bytes of one answer

  explicit UnixTransfers(std::filesystem::path socket);
  ~UnixTransfers();  // drops what is under way; `done` is not called
  UnixTransfers(UnixTransfers&&) noexcept;

  const std::filesystem::path& socket() const;

  // Begins a transfer; `done` is called out of a later wait(), and may begin others.
  using Done = std::function<void(TransferResult)>;
  void begin(TransferRequest request, Done done);

  // Sleeps until a transfer makes progress, one of `watched` is ready (its revents say so), or `limit` is over (none:
  // for ever). Returns at once if nothing is under way and nothing watched.
  void wait(std::span<pollfd> watched, std::optional<std::chrono::milliseconds> limit);

  // One request to its end.
  TransferResult call(TransferRequest request);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::http
