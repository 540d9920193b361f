#include "runner/shim/init_link.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/unix_socket.hpp"

namespace runner::shim {
namespace {

std::string with_id(char word, std::uint32_t id) {
  std::string bytes(kExecHeader, word);
  std::memcpy(bytes.data() + 1, &id, sizeof id);
  return bytes;
}

}  // namespace

void InitLink::open_pair(os::Fd& theirs) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) throw errno_error(errno, "socketpair");
  socket_ = os::Fd(pair[0]);
  theirs = os::Fd(pair[1]);
  const int on = 1;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
}

void InitLink::listen(const os::RunDirectory& run) {
  listening_at_ = run.init_socket();
  listener_ = os::listen_at(listening_at_);
}

void InitLink::close() {
  if (listener_) ::unlink(listening_at_.c_str());
  listener_.reset();
  socket_.reset();
}

void InitLink::accept() {
  os::Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return;
  close();
  socket_ = std::move(connection);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) peer_ = peer.pid;
}

std::optional<InitLink::Received> InitLink::receive() {
  if (listener_) accept();
  if (!socket_) return std::nullopt;
  for (;;) {
    Received received{.record = {}, .sender = peer_};
    iovec piece{&received.record, sizeof received.record};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return std::nullopt;
    if (got <= 0) {
      close();  // nobody holds the other end: pid 1 is gone or going
      return std::nullopt;
    }
    if (got != static_cast<ssize_t>(sizeof received.record) || received.record.version != kInitProtocolVersion)
      continue;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      received.sender = sender.pid;
    }
    return received;
  }
}

bool InitLink::send_go(int secrets) {
  const std::array<int, 1> descriptors{secrets};
  return os::send_message(socket_.get(), {&kGo, 1},
                          secrets >= 0 ? std::span<const int>(descriptors) : std::span<const int>());
}

bool InitLink::send(char word) { return os::send_message(socket_.get(), {&word, 1}); }

bool InitLink::send_exec(std::uint32_t id, std::string_view words, std::span<const int> descriptors) {
  return os::send_message(socket_.get(), with_id(kStartCommand, id).append(words), descriptors);
}

bool InitLink::send_kill(std::uint32_t id) { return os::send_message(socket_.get(), with_id(kKillCommand, id)); }

}  // namespace runner::shim
