// Our API's client: one keep-alive connection over a unix socket. For the CLI; one thread at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runner/core/content.hpp"
#include "runner/http/message.hpp"

namespace runner::http {

class Client {
 public:
  // Error(kUnavailable) if nobody listens there, Error(kInvalid) if the path is over 107 bytes.
  explicit Client(const std::filesystem::path& socket);
  ~Client();

  // `target` is already encoded ("/v1/runs?limit=10"). Waits for the answer however long it takes. An answer of status >= 400
  // is thrown as the Error it carries; a broken connection is Error(kUnavailable) "the daemon went away".
  Response call(std::string_view method, std::string_view target, std::string_view body = {});
  // The same with the body handed on piece by piece as it arrives.
  void stream(std::string_view method, std::string_view target, const WriteSome& write);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::http
