// The shim's end of the socket to runner-init (init_protocol.hpp): inherited by the container or connected to from it.
// One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::shim {

class InitLink {
 public:
  // A pair; the other end, for the runtime to pass on, is in `theirs`.
  void open_pair(os::Fd& theirs);
  // Waits at run.init_socket() for the one connection that counts: the first, before any script runs.
  void listen(const os::RunDirectory& run);
  void close();  // lets init end the container

  int fd() const { return listener_ ? listener_.get() : socket_.get(); }  // -1: closed
  explicit operator bool() const { return fd() >= 0; }

  struct Received {
    InitRecord record;
    pid_t sender = 0;  // in our pid namespace; 0 if it is not visible here
  };
  // Nothing when there is nothing more to read, or when the link is closed now (then it is false).
  std::optional<Received> receive();

  // True if init could be told; a dead one shows in receive().
  bool send_go(int secrets);  // -1: none
  bool send(char word);
  bool send_exec(std::uint32_t id, std::string_view words, std::span<const int> descriptors);
  bool send_kill(std::uint32_t id);

 private:
  void accept();

  os::Fd listener_;
  std::filesystem::path listening_at_;
  os::Fd socket_;
  pid_t peer_ = 0;  // who connected; 0: ask every message
};

}  // namespace runner::shim
