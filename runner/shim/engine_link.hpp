// The shim's end of the socket to runner-engine (engine_protocol.hpp). One thread.
#pragma once

#include <optional>

#include "runner/os/fd.hpp"
#include "runner/shim/engine_protocol.hpp"

namespace runner::shim {

class EngineLink {
 public:
  void open(os::Fd& theirs);
  void close() { socket_.reset(); }
  int fd() const { return socket_.get(); }  // -1: closed
  explicit operator bool() const { return static_cast<bool>(socket_); }

  std::optional<EngineRecord> receive();  // closes the link at its end
  void send(char word);

 private:
  os::Fd socket_;
};

}  // namespace runner::shim
