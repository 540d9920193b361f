#include "runner/shim/engine_link.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "runner/core/error.hpp"
#include "runner/os/unix_socket.hpp"

namespace runner::shim {

void EngineLink::open(os::Fd& theirs) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) throw errno_error(errno, "socketpair");
  socket_ = os::Fd(pair[0]);
  theirs = os::Fd(pair[1]);
}

std::optional<EngineRecord> EngineLink::receive() {
  EngineRecord record;
  const ssize_t got = ::recv(socket_.get(), &record, sizeof record, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (got <= 0) close();
  if (got != static_cast<ssize_t>(sizeof record)) return std::nullopt;
  record.words.back() = '\0';
  return record;
}

void EngineLink::send(char word) {
  if (socket_) os::send_message(socket_.get(), {&word, 1});  // one that is gone shows in receive()
}

}  // namespace runner::shim
