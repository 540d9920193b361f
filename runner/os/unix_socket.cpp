#include "runner/os/unix_socket.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::os {
namespace {

constexpr std::size_t kMostDescriptors = 4;

struct Address {
  Fd directory;  // the address names it: keep it open while it is used
  sockaddr_un value{};
};

Address address_of(const std::filesystem::path& path) {
  Address address;
  address.directory = open_file(path.parent_path(), O_PATH | O_DIRECTORY);
  address.value.sun_family = AF_UNIX;
  const std::string text = "/proc/self/fd/" + std::to_string(address.directory.get()) + "/" + path.filename().string();
  if (text.size() >= sizeof address.value.sun_path)
    throw Error(ErrorCode::kInternal, "socket " + path.string() + ": its name is too long");
  std::memcpy(address.value.sun_path, text.c_str(), text.size());
  return address;
}

Fd new_socket(int flags) {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!fd) throw errno_error(errno, "socket", ErrorCode::kUnavailable);
  return fd;
}

}  // namespace

Fd listen_at(const std::filesystem::path& path) {
  const Address address = address_of(path);
  Fd fd = new_socket(SOCK_NONBLOCK);
  ::unlink(path.c_str());
  ::fchmod(fd.get(), 0600);  // before bind: the file is made with the socket's mode
  constexpr int kBacklog = 16;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.value), sizeof address.value) != 0 ||
      ::listen(fd.get(), kBacklog) != 0)
    throw errno_error(errno, "listen at " + path.string(), ErrorCode::kUnavailable);
  return fd;
}

Fd connect_to(const std::filesystem::path& path) {
  const Address address = address_of(path);
  Fd fd = new_socket(SOCK_NONBLOCK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.value), sizeof address.value) != 0)
    throw errno_error(errno, "connect to " + path.string(), ErrorCode::kUnavailable);
  return fd;
}

bool send_message(int socket, std::string_view bytes, std::span<const int> descriptors) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostDescriptors)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes.size());
}

Fd sealed_memory(const char* name, std::string_view content) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw errno_error(errno, "memfd_create", ErrorCode::kUnavailable);
  write_all(fd.get(), content, name);
  ::lseek(fd.get(), 0, SEEK_SET);
  ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

}  // namespace runner::os
