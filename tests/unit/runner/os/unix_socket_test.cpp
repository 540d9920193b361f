#include "runner/os/unix_socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::os {
namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Directory() { remove_tree(path); }
};

ErrorCode code_of_connecting_to(const std::filesystem::path& path) {
  try {
    connect_to(path);
  } catch (const Error& error) {
    CHECK(error.message().find(path.parent_path().string()) != std::string::npos);
    return error.code();
  }
  FAIL("connected");
  return ErrorCode::kInternal;
}

std::string hear(const Fd& socket) {
  std::array<char, 256> bytes{};
  const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
  return {bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

}  // namespace

TEST_CASE("a socket may lie as deep as a run directory does") {
  const Directory directory;
  std::filesystem::path deep = directory.path;
  for (int i = 0; i < 10; ++i) deep /= std::string(100, 'd');
  make_directories(deep);
  REQUIRE(deep.string().size() > 1000);  // sun_path holds 107
  const Fd listener = listen_at(deep / "control");
  const Fd client = connect_to(deep / "control");
  const Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(server);
  CHECK(send_message(client.get(), "one"));
  CHECK(send_message(client.get(), "two"));
  CHECK(hear(server) == "one");  // messages, not a stream
  CHECK(hear(server) == "two");
}

TEST_CASE("a listening socket is its owner's only, does not block, and takes the place of an old one") {
  const Directory directory;
  const auto place = directory.path / "control";
  publish_file(place, "left by somebody", Durability::kAtomic);
  const Fd first = listen_at(place);
  const Fd second = listen_at(place);
  struct ::stat info {};
  REQUIRE(::stat(place.c_str(), &info) == 0);
  CHECK(S_ISSOCK(info.st_mode));
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(::accept4(second.get(), nullptr, nullptr, SOCK_CLOEXEC) == -1);
  CHECK(errno == EAGAIN);
  CHECK((::fcntl(second.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const Fd client = connect_to(place);
  const Fd server(::accept4(second.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(server);
}

TEST_CASE("a socket that is not there and one that nobody listens at are told apart") {
  const Directory directory;
  CHECK(code_of_connecting_to(directory.path / "no" / "control") == ErrorCode::kNotFound);
  CHECK(code_of_connecting_to(directory.path / "control") == ErrorCode::kNotFound);
  listen_at(directory.path / "control");
  CHECK(code_of_connecting_to(directory.path / "control") == ErrorCode::kUnavailable);
  CHECK_THROWS_AS(listen_at(directory.path / std::string(120, 'x')), Error);
}

TEST_CASE("a message goes whole with its descriptors, or not at all") {
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) == 0);
  const Fd ours(pair[0]);
  Fd theirs(pair[1]);
  const Fd file = sealed_memory("test", "through");
  const std::array<int, 1> descriptors{file.get()};
  REQUIRE(send_message(ours.get(), "word", descriptors));
  std::array<char, 16> bytes{};
  iovec piece{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  REQUIRE(::recvmsg(theirs.get(), &message, MSG_CMSG_CLOEXEC) == 4);
  REQUIRE(CMSG_FIRSTHDR(&message) != nullptr);
  int number = -1;
  std::memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof number);
  const Fd received(number);
  CHECK(read_file("/proc/self/fd/" + std::to_string(received.get())) == "through");

  int sent = 0;
  while (send_message(ours.get(), std::string(1000, 'x'))) ++sent;  // nobody reads
  CHECK(sent > 0);
  int heard = 0;
  while (::recv(theirs.get(), bytes.data(), bytes.size(), MSG_TRUNC) == 1000) ++heard;
  CHECK(heard == sent);
  theirs.reset();
  CHECK_FALSE(send_message(ours.get(), "x"));  // and no SIGPIPE
}

TEST_CASE("sealed memory is read from its beginning and never changed") {
  const std::string content = std::string("NAME\0", 5) + std::string(100'000, 's');
  const Fd fd = sealed_memory("secrets", content);
  std::string read(content.size() + 1, '\0');
  REQUIRE(::read(fd.get(), read.data(), read.size()) == static_cast<ssize_t>(content.size()));
  read.resize(content.size());
  CHECK(read == content);
  CHECK(::pwrite(fd.get(), "x", 1, 0) == -1);
  CHECK(errno == EPERM);
  CHECK(::ftruncate(fd.get(), 0) == -1);
  CHECK(::ftruncate(fd.get(), 1 << 20) == -1);
  CHECK(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == -1);
  CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0) == MAP_FAILED);
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(sealed_memory("empty", "").get() >= 0);
}

}  // namespace runner::os
