// The shim's sockets, with a test at the other end: in the place of runner-init, runner-engine and the daemon.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "runner/core/error.hpp"
#include "runner/os/unix_socket.hpp"
#include "runner/shim/engine_link.hpp"
#include "runner/shim/exec_protocol.hpp"
#include "runner/shim/exec_server.hpp"
#include "runner/shim/init_link.hpp"
#include "scratch_run.hpp"

namespace runner::shim {
namespace {

struct Message {
  std::string bytes;
  std::vector<os::Fd> descriptors;
};

// One message, or the end of the connection as an empty one; a test waits for it no longer than for a busy machine.
Message receive(int socket) {
  constexpr int kPatienceMillis = 20'000;
  pollfd ready{socket, POLLIN, 0};
  REQUIRE(::poll(&ready, 1, kPatienceMillis) == 1);
  Message message;
  message.bytes.resize(kMostExecBytes);
  iovec piece{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  message.bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  const cmsghdr* rights = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
  if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS)
    for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= rights->cmsg_len; at += sizeof(int)) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(rights) + at, sizeof number);
      message.descriptors.emplace_back(number);
    }
  return message;
}

bool is_silent(int socket) {
  pollfd ready{socket, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 0;
}

void say(int socket, const InitRecord& record) {
  REQUIRE(::send(socket, &record, sizeof record, MSG_NOSIGNAL) == sizeof record);
}

InitRecord record_of(InitEvent event, std::int32_t value = 0, std::uint32_t detail = 0) {
  InitRecord record;
  record.event = event;
  record.value = value;
  record.detail = detail;
  return record;
}

ino_t inode_of(int fd) {
  struct ::stat info {};
  REQUIRE(::fstat(fd, &info) == 0);
  return info.st_ino;
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

// A shim's ExecServer with an init and a daemon played by the test.
struct Playing {
  ScratchRun scratch;
  InitLink link;
  os::Fd init;
  ExecServer server{scratch.run};
  os::Fd input{os::open_file("/dev/null", O_RDONLY)};
  std::array<int, 2> output{-1, -1};

  Playing() {
    link.open_pair(init);
    REQUIRE(::pipe2(output.data(), O_CLOEXEC) == 0);
  }
  ~Playing() {
    ::close(output[0]);
    ::close(output[1]);
  }
  std::array<int, 3> descriptors() const { return {input.get(), output[1], output[1]}; }

  // As the supervisor's loop: everything that is ready now.
  void turn(int refusal = 0) {
    for (;;) {
      std::vector<pollfd> watched;
      server.add_to(watched);
      if (::poll(watched.data(), watched.size(), 0) <= 0) return;
      for (const pollfd& ready : watched)
        if (ready.revents != 0) server.on_ready(ready.fd, link, refusal);
    }
  }
  os::Fd ask(std::string_view words) {
    os::Fd daemon = os::connect_to(scratch.run.control());
    const auto three = descriptors();
    REQUIRE(os::send_message(daemon.get(), words, three));
    return daemon;
  }
};

std::uint32_t id_of(const Message& message) {
  REQUIRE(message.bytes.size() >= kExecHeader);
  std::uint32_t id = 0;
  std::memcpy(&id, message.bytes.data() + 1, sizeof id);
  return id;
}

ExecRecord answer_to(const os::Fd& daemon) {
  const Message message = receive(daemon.get());
  ExecRecord record;
  REQUIRE(message.bytes.size() == sizeof record);
  std::memcpy(&record, message.bytes.data(), sizeof record);
  return record;
}

}  // namespace

TEST_CASE("init's records come through a pair, with the pid the kernel knows") {
  InitLink link;
  CHECK_FALSE(link);
  os::Fd init;
  link.open_pair(init);
  CHECK(link);
  CHECK_FALSE(link.receive());
  say(init.get(), record_of(InitEvent::kStarted, 1));
  const auto received = link.receive();
  REQUIRE(received);
  CHECK(received->record.event == InitEvent::kStarted);
  CHECK(received->record.value == 1);
  CHECK(received->sender == ::getpid());
  CHECK_FALSE(link.receive());
  CHECK(link);
}

TEST_CASE("a record of another version or size is passed over") {
  InitLink link;
  os::Fd init;
  link.open_pair(init);
  InitRecord other = record_of(InitEvent::kReady);
  other.version = kInitProtocolVersion + 1;
  say(init.get(), other);
  REQUIRE(::send(init.get(), "short", 5, 0) == 5);
  say(init.get(), record_of(InitEvent::kReady));
  const auto received = link.receive();
  REQUIRE(received);
  CHECK(received->record.event == InitEvent::kReady);
  CHECK_FALSE(link.receive());
}

TEST_CASE("words to init arrive as the protocol spells them") {
  InitLink link;
  os::Fd init;
  link.open_pair(init);
  CHECK(link.send_go(-1));
  Message go = receive(init.get());
  CHECK(go.bytes == std::string(1, kGo));
  CHECK(go.descriptors.empty());
  const os::Fd secrets = os::sealed_memory("secrets", "A");
  CHECK(link.send_go(secrets.get()));
  go = receive(init.get());
  CHECK(go.bytes == std::string(1, kGo));
  REQUIRE(go.descriptors.size() == 1);
  CHECK(inode_of(go.descriptors[0].get()) == inode_of(secrets.get()));
  CHECK(link.send(kStop));
  CHECK(receive(init.get()).bytes == std::string(1, kStop));
  CHECK(link.send_kill(0x01020304));
  const Message kill = receive(init.get());
  CHECK(kill.bytes.size() == kExecHeader);
  CHECK(kill.bytes[0] == kKillCommand);
  CHECK(id_of(kill) == 0x01020304);
}

TEST_CASE("an init that is gone closes the link, and can be told nothing any more") {
  InitLink link;
  os::Fd init;
  link.open_pair(init);
  say(init.get(), record_of(InitEvent::kEnded, 3));
  init.reset();
  CHECK(link.receive()->record.value == 3);  // its last word counts
  CHECK_FALSE(link.send(kBye));
  CHECK_FALSE(link.receive());
  CHECK_FALSE(link);
  CHECK(link.fd() == -1);
}

TEST_CASE("an init of another container connects, once, and leaves no socket behind") {
  const ScratchRun scratch;
  InitLink link;
  link.listen(scratch.run);
  CHECK(link);
  CHECK_FALSE(link.receive());  // nobody is there yet
  CHECK(link);
  struct ::stat info {};
  REQUIRE(::stat(scratch.run.init_socket().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const os::Fd init = os::connect_to(scratch.run.init_socket());
  say(init.get(), record_of(InitEvent::kReady));
  const auto received = link.receive();
  REQUIRE(received);
  CHECK(received->record.event == InitEvent::kReady);
  CHECK(received->sender == ::getpid());  // SO_PEERCRED
  CHECK_FALSE(std::filesystem::exists(scratch.run.init_socket()));
  CHECK_THROWS_AS(os::connect_to(scratch.run.init_socket()), Error);
  CHECK(link.send_go(-1));
  CHECK(receive(init.get()).bytes == std::string(1, kGo));
}

TEST_CASE("a link that is closed before init came refuses it and removes the socket") {
  const ScratchRun scratch;
  InitLink link;
  link.listen(scratch.run);
  const os::Fd early = os::connect_to(scratch.run.init_socket());
  link.close();
  CHECK_FALSE(link);
  CHECK_FALSE(std::filesystem::exists(scratch.run.init_socket()));
  CHECK(receive(early.get()).bytes.empty());  // the end: it will not start anything
}

TEST_CASE("the engine's helper is told to pause and says what became of it") {
  EngineLink link;
  os::Fd helper;
  link.open(helper);
  CHECK_FALSE(link.receive());
  CHECK(link);
  link.send(kPause);
  CHECK(receive(helper.get()).bytes == std::string(1, kPause));
  EngineRecord record{.event = EngineEvent::kPauseFailed, .exit_code = 5, .out_of_memory = true};
  record.words.fill('x');  // a helper that forgot the end of its text
  REQUIRE(::send(helper.get(), &record, sizeof record, 0) == sizeof record);
  const auto received = link.receive();
  REQUIRE(received);
  CHECK(received->event == EngineEvent::kPauseFailed);
  CHECK(received->exit_code == 5);
  CHECK(received->out_of_memory);
  CHECK(std::strlen(received->words.data()) == record.words.size() - 1);
  REQUIRE(::send(helper.get(), "short", 5, 0) == 5);
  CHECK_FALSE(link.receive());
  CHECK(link);
  helper.reset();
  CHECK_FALSE(link.receive());
  CHECK_FALSE(link);
  link.send(kUnpause);  // nobody: nothing happens
}

TEST_CASE("a command's words and descriptors reach init as they were given") {
  Playing play;
  const os::Fd daemon = play.ask(std::string("cat\0-n\0\0a b\0", 12));
  play.turn();
  const Message asked = receive(play.init.get());
  CHECK(asked.bytes[0] == kStartCommand);
  CHECK(asked.bytes.substr(kExecHeader) == std::string("cat\0-n\0\0a b\0", 12));
  REQUIRE(asked.descriptors.size() == 3);
  const auto ours = play.descriptors();
  for (std::size_t i = 0; i < 3; ++i) CHECK(inode_of(asked.descriptors[i].get()) == inode_of(ours[i]));
  CHECK(is_silent(daemon.get()));  // nothing is said before init says it
}

TEST_CASE("what init says of a command reaches whoever asked for it, and nobody else") {
  Playing play;
  const os::Fd first = play.ask(std::string("a\0", 2));
  const os::Fd second = play.ask(std::string("b\0", 2));
  play.turn();
  const std::uint32_t first_id = id_of(receive(play.init.get()));
  const std::uint32_t second_id = id_of(receive(play.init.get()));
  CHECK(first_id != second_id);
  play.server.on_record(record_of(InitEvent::kExecStarted, 0, second_id));
  CHECK(answer_to(second).event == ExecEvent::kStarted);
  play.server.on_record(record_of(InitEvent::kExecRefused, ENOENT, first_id));
  const ExecRecord refused = answer_to(first);
  CHECK(refused.event == ExecEvent::kRefused);
  CHECK(refused.value == ENOENT);
  play.server.on_record(record_of(InitEvent::kExecEnded, 3 << 8, second_id));
  const ExecRecord ended = answer_to(second);
  CHECK(ended.event == ExecEvent::kEnded);
  CHECK(ended.value == 3 << 8);
  // Both connections are over now.
  CHECK(receive(first.get()).bytes.empty());
  CHECK(receive(second.get()).bytes.empty());
  play.server.on_record(record_of(InitEvent::kExecEnded, 0, 4711));  // of nobody
  play.turn();
  CHECK(is_silent(play.init.get()));
}

TEST_CASE("a command whose asker goes away is killed, and its end is nobody's concern") {
  Playing play;
  os::Fd daemon = play.ask(std::string("sleep\0", 6));
  play.turn();
  const std::uint32_t id = id_of(receive(play.init.get()));
  play.server.on_record(record_of(InitEvent::kExecStarted, 0, id));
  daemon.reset();
  play.turn();
  const Message kill = receive(play.init.get());
  CHECK(kill.bytes[0] == kKillCommand);
  CHECK(id_of(kill) == id);
  play.turn();
  CHECK(is_silent(play.init.get()));  // once
  play.server.on_record(record_of(InitEvent::kExecEnded, 9, id));
}

TEST_CASE("one who connects and goes without a word leaves nothing") {
  Playing play;
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    os::connect_to(play.scratch.run.control());
    play.turn();
  }
  CHECK(open_descriptors() == before);
  CHECK(is_silent(play.init.get()));
}

TEST_CASE("a run that has no script running refuses commands as one that has ended") {
  Playing play;
  const os::Fd daemon = play.ask(std::string("ls\0", 3));
  play.turn(ESRCH);
  const ExecRecord refused = answer_to(daemon);
  CHECK(refused.event == ExecEvent::kRefused);
  CHECK(refused.value == ESRCH);
  CHECK(receive(daemon.get()).bytes.empty());
  CHECK(is_silent(play.init.get()));
}

TEST_CASE("an init that died in between refuses as one that has ended") {
  Playing play;
  play.init.reset();
  const os::Fd daemon = play.ask(std::string("ls\0", 3));
  play.turn();
  CHECK(answer_to(daemon).value == ESRCH);
}

TEST_CASE("a message that is no command is refused, and keeps no descriptor") {
  Playing play;
  const std::size_t before = open_descriptors();
  const auto three = play.descriptors();
  const auto refused_with = [&](std::string_view words, std::span<const int> descriptors) {
    const os::Fd daemon = os::connect_to(play.scratch.run.control());
    REQUIRE(os::send_message(daemon.get(), words, descriptors));
    play.turn();
    const ExecRecord record = answer_to(daemon);
    CHECK(record.event == ExecEvent::kRefused);
    return record.value;
  };
  CHECK(refused_with("ls", three) == EINVAL);  // no NUL
  CHECK(refused_with({"ls\0", 3}, {}) == EINVAL);
  CHECK(refused_with({"ls\0", 3}, std::span(three).first(2)) == EINVAL);
  CHECK(is_silent(play.init.get()));
  CHECK(open_descriptors() == before);
  const std::array<int, 4> four{three[0], three[1], three[2], three[2]};
  {
    const os::Fd daemon = os::connect_to(play.scratch.run.control());
    REQUIRE(os::send_message(daemon.get(), {"ls\0", 3}, four));
    play.turn();
    if (!is_silent(play.init.get())) CHECK(receive(play.init.get()).descriptors.size() == 3);
  }
  play.turn();
  CHECK(open_descriptors() == before);
}

TEST_CASE("a run takes so many commands at once, and the next one is told so") {
  Playing play;
  std::vector<os::Fd> daemons;
  for (std::size_t i = 0; i < kMostExecs; ++i) {
    daemons.push_back(play.ask(std::string("x\0", 2)));
    play.turn();
    receive(play.init.get());
  }
  const os::Fd one_more = play.ask(std::string("y\0", 2));
  play.turn();
  CHECK(answer_to(one_more).value == EAGAIN);
  CHECK(is_silent(play.init.get()));
  play.server.on_record(record_of(InitEvent::kExecEnded, 0, 1));
  const os::Fd then = play.ask(std::string("z\0", 2));
  play.turn();
  CHECK(receive(play.init.get()).bytes.substr(kExecHeader) == std::string("z\0", 2));
}

TEST_CASE("an init that does not read makes nobody wait") {
  Playing play;
  const std::string large = std::string(100 << 10, 'x') + '\0';
  std::vector<os::Fd> daemons;
  for (int refused = 0; refused == 0;) {
    daemons.push_back(play.ask(large));
    play.turn();
    pollfd answer{daemons.back().get(), POLLIN, 0};
    refused = ::poll(&answer, 1, 0) > 0 ? answer_to(daemons.back()).value : 0;
    REQUIRE(daemons.size() < kMostExecs);
    if (refused != 0) CHECK(refused == EBUSY);
  }
}

}  // namespace runner::shim
