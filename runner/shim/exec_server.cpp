#include "runner/shim/exec_server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "runner/os/unix_socket.hpp"
#include "runner/shim/exec_protocol.hpp"

namespace runner::shim {
namespace {

constexpr std::size_t kStandardDescriptors = 3;

void tell(const os::Fd& connection, ExecEvent event, std::int32_t value) {
  const ExecRecord record{.event = event, .value = value};
  // A daemon that is gone is seen when its connection ends.
  os::send_message(connection.get(), {reinterpret_cast<const char*>(&record), sizeof record});
}

struct Heard {
  ssize_t size = 0;
  std::array<os::Fd, kStandardDescriptors> descriptors;
};

Heard hear_message(int connection, std::string& bytes) {
  bytes.resize(kMostExecBytes - kExecHeader);
  iovec piece{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kStandardDescriptors)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Heard heard;
  heard.size = ::recvmsg(connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const cmsghdr* header = heard.size > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    // Room is rounded up: one more than asked for may have come.
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof number, sizeof number);
      os::Fd received(number);
      if (i < kStandardDescriptors) heard.descriptors[i] = std::move(received);
    }
  }
  if (heard.size > 0) bytes.resize(static_cast<std::size_t>(heard.size));
  return heard;
}

}  // namespace

ExecServer::ExecServer(const os::RunDirectory& run) : listener_(os::listen_at(run.control())) {}

void ExecServer::add_to(std::vector<pollfd>& watched) const {
  watched.push_back({listener_.get(), POLLIN, 0});
  for (const auto& [id, command] : commands_)
    if (command.connection) watched.push_back({command.connection.get(), POLLIN, 0});
}

void ExecServer::on_ready(int fd, InitLink& init, int refusal) {
  if (fd == listener_.get()) return accept();
  const auto at = std::find_if(commands_.begin(), commands_.end(),
                               [fd](const auto& entry) { return entry.second.connection.get() == fd; });
  if (at == commands_.end()) return;
  hear(at->first, at->second, init, refusal);
  if (!at->second.connection && !at->second.asked) commands_.erase(at);
}

void ExecServer::accept() {
  os::Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (connection) commands_[next_++] = Command{.connection = std::move(connection), .asked = false};
}

void ExecServer::hear(std::uint32_t id, Command& command, InitLink& init, int refusal) {
  std::string words;
  const Heard heard = hear_message(command.connection.get(), words);
  if (heard.size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (heard.size <= 0) {
    // Whoever asked is gone, and with it the reader of what the command prints.
    command.connection.reset();
    if (command.asked) init.send_kill(id);
    return;
  }
  if (command.asked) return;
  const std::array<int, kStandardDescriptors> descriptors{heard.descriptors[0].get(), heard.descriptors[1].get(),
                                                          heard.descriptors[2].get()};
  const bool complete = words.back() == '\0' && descriptors[kStandardDescriptors - 1] >= 0;
  if (refusal == 0 && !complete) refusal = EINVAL;
  if (refusal == 0 && commands_.size() > kMostExecs) refusal = EAGAIN;
  // An init that is frozen from outside does not read: its socket fills, and nothing waits for it.
  if (refusal == 0 && !init.send_exec(id, words, descriptors)) refusal = errno == EAGAIN ? EBUSY : ESRCH;
  if (refusal != 0) {
    tell(command.connection, ExecEvent::kRefused, refusal);
    command.connection.reset();
    return;
  }
  command.asked = true;
}

void ExecServer::on_record(const InitRecord& record) {
  const auto at = commands_.find(record.detail);
  if (at == commands_.end()) return;
  const os::Fd& connection = at->second.connection;
  switch (record.event) {
    case InitEvent::kExecStarted:
      if (connection) tell(connection, ExecEvent::kStarted, 0);
      return;
    case InitEvent::kExecRefused:
      if (connection) tell(connection, ExecEvent::kRefused, record.value);
      break;
    case InitEvent::kExecEnded:
      if (connection) tell(connection, ExecEvent::kEnded, record.value);
      break;
    default:
      return;
  }
  commands_.erase(at);
}

}  // namespace runner::shim
