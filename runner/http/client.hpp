// Our API's client: one keep-alive connection over a unix socket. For the CLI; one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"
#include "runner/http/message.hpp"

namespace runner::http {

// The connection broke before the answer was complete: the daemon died or was stopped. Error(kUnavailable); its own
// type so that a follower can tell it from a daemon that answers "unavailable".
class ConnectionLost : public Error {
 public:
  using Error::Error;
};

// Thrown out of call() and stream() when the descriptor given to interrupt_on() became readable.
struct Interrupted {};

class Client {
 public:
  // Error(kUnavailable) if nobody listens there, Error(kInvalid) if the path is over 107 bytes.
  explicit Client(const std::filesystem::path& socket);
  ~Client();

  // `target` is already encoded ("/v1/runs?limit=10"). Waits for the answer however long it takes. An answer of status
  // >= 400 is thrown as the Error it carries; a broken connection is ConnectionLost "the daemon went away". Afterwards
  // the client may be used again: it connects anew.
  Response call(std::string_view method, std::string_view target, std::string_view body = {});
  // The same with the body handed on piece by piece as it arrives. An exception of `write` passes through.
  void stream(std::string_view method, std::string_view target, const WriteSome& write, std::string_view body = {});

  // What the daemon has to say before it answers: told as it comes. Only a request with "?notices=1" is told anything.
  void tell_notices(std::function<void(const std::string&)> tell);

  // Where in its log an answer begins, told before its first byte.
  void tell_offset(std::function<void(std::int64_t)> tell);

  // While an answer is awaited, a readable `fd` (a signal's eventfd) throws Interrupted; -1: nothing does. Not owned.
  void interrupt_on(int fd);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::http
