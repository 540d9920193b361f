#include "runner/daemon/exec_session.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/os/unix_socket.hpp"
#include "runner/shim/exec_protocol.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::daemon {
namespace {

using shim::ExecEvent;
using shim::ExecRecord;

constexpr std::string_view kContentType = "application/vnd.runner.exec-stream";
constexpr char kOutput = 1;
constexpr char kError = 2;
constexpr char kEnd = 3;
constexpr int kContainerDied = 128 + 9;  // with it everything in it, by SIGKILL

struct Pipe {
  os::Fd reading;
  os::Fd writing;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw errno_error(errno, "pipe", ErrorCode::kUnavailable);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);  // ours only: the command's end blocks, as it expects
  return {os::Fd(ends[0]), os::Fd(ends[1])};
}

std::string packed(const std::string& run, const std::vector<std::string>& command) {
  if (command.empty() || command.front().empty())
    throw Error(ErrorCode::kInvalid, "exec " + run + ": no command was given", "runner run exec RUN -- CMD…");
  std::string words;
  for (const std::string& word : command) {
    if (word.find('\0') != std::string::npos) throw Error(ErrorCode::kInvalid, "exec " + run + ": a word holds NUL");
    words.append(word).append(1, '\0');
  }
  if (words.size() + shim::kExecHeader > shim::kMostExecBytes || command.size() > shim::kMostExecWords)
    throw Error(ErrorCode::kInvalid, "exec " + run + ": the command is too long",
                "put it into a file of the run, or pass it in parts");
  return words;
}

void write_frame(Exchange& exchange, char kind, std::span<const std::byte> bytes) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  const std::array<std::byte, 8> header{static_cast<std::byte>(kind),
                                        std::byte{0},
                                        std::byte{0},
                                        std::byte{0},
                                        static_cast<std::byte>(size >> 24),
                                        static_cast<std::byte>(size >> 16),
                                        static_cast<std::byte>(size >> 8),
                                        static_cast<std::byte>(size)};
  exchange.write(header);
  exchange.write(bytes);
}

// What is there by now; false at the end of the stream.
bool forward(const os::Fd& from, char kind, Exchange& exchange) {
  std::array<std::byte, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    write_frame(exchange, kind, {buffer.data(), static_cast<std::size_t>(got)});
  }
}

class Session {
 public:
  Session(os::Fd connection, Pipe output, Pipe error)
      : connection_(std::move(connection)),
        output_(std::move(output.reading)),
        error_(std::move(error.reading)),
        any_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!any_) throw errno_error(errno, "epoll_create1", ErrorCode::kUnavailable);
    for (const os::Fd* fd : {&connection_, &output_, &error_}) watch(*fd, EPOLL_CTL_ADD);
  }

  // Nothing yet, or the record; a connection that ended is `gone`.
  std::optional<ExecRecord> hear(bool& gone) {
    ExecRecord record;
    const ssize_t got = ::recv(connection_.get(), &record, sizeof record, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
    gone = got <= 0;
    return got == static_cast<ssize_t>(sizeof record) ? std::optional(record) : std::nullopt;
  }

  void await(Exchange& exchange) {
    if (!exchange.wait(any_.get(), std::nullopt)) throw ClientGone{};  // the daemon stops: so does the command
  }

  void forward_all(Exchange& exchange) {
    for (const auto& [fd, kind] : {std::pair{&output_, kOutput}, std::pair{&error_, kError}})
      if (*fd && !forward(*fd, kind, exchange)) {
        watch(*fd, EPOLL_CTL_DEL);
        fd->reset();
      }
  }

 private:
  void watch(const os::Fd& fd, int operation) {
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(any_.get(), operation, fd.get(), &event);
  }

  os::Fd connection_;
  os::Fd output_;
  os::Fd error_;
  os::Fd any_;
};

void write_end(Exchange& exchange, int status) {
  const std::string text = std::to_string(status);
  write_frame(exchange, kEnd, std::as_bytes(std::span(text)));
  exchange.finish_stream();
}

// A program that cannot be started is the command's own end, as a shell and `docker exec` have it.
void answer_not_started(const std::string& run, const std::string& program, int error, Exchange& exchange) {
  if (error == ESRCH) throw Error(ErrorCode::kConflict, "exec " + run + ": it is not running any more");
  if (error == EBUSY)
    throw Error(ErrorCode::kConflict, "exec " + run + ": it is paused or does not listen",
                "runner run resume it first");
  if (error == EAGAIN)
    throw Error(ErrorCode::kUnavailable, "exec " + run + ": too many commands run in it already",
                "wait for one of them to end");
  if (error == ECANCELED)
    throw Error(ErrorCode::kConflict, "exec " + run + ": processes of the run stop the command before it can start",
                "runner cancel " + run + " ends them");
  constexpr int kNotFound = 127;
  constexpr int kNotExecutable = 126;
  std::string words = "runner: error: exec " + run + ": " + program + ": " + std::strerror(error) + "\n";
  if (error == ENOENT) words += "hint: the run sees only what is in its container\n";
  exchange.start_stream(200, kContentType, std::nullopt);
  write_frame(exchange, kError, std::as_bytes(std::span(words)));
  write_end(exchange, error == ENOENT ? kNotFound : kNotExecutable);
}

}  // namespace

void stream_exec(pipeline::Pipeline& pipeline, const std::string& run, const std::vector<std::string>& command,
                 Exchange& exchange) {
  const std::string words = packed(run, command);
  exchange.expect_to_wait();
  os::Fd connection = pipeline.connect_for_exec(run);
  Pipe output = make_pipe();
  Pipe error = make_pipe();
  {
    const os::Fd input = os::open_file("/dev/null", O_RDONLY);
    const std::array<int, 3> descriptors{input.get(), output.writing.get(), error.writing.get()};
    if (!os::send_message(connection.get(), words, descriptors))
      return answer_not_started(run, command.front(), ESRCH, exchange);
    output.writing.reset();
    error.writing.reset();
  }
  Session session(std::move(connection), std::move(output), std::move(error));
  bool gone = false;
  std::optional<ExecRecord> record;
  while (!(record = session.hear(gone)) && !gone) session.await(exchange);
  if (!record || record->event == ExecEvent::kRefused)
    return answer_not_started(run, command.front(), record ? record->value : ESRCH, exchange);

  exchange.start_stream(200, kContentType, std::nullopt);
  int status = kContainerDied;
  for (;;) {
    const auto ended = session.hear(gone);
    session.forward_all(exchange);  // after its end: everything it wrote itself is there by now
    if (ended && ended->event == ExecEvent::kEnded) {
      status = WIFSIGNALED(ended->value) ? 128 + WTERMSIG(ended->value) : WEXITSTATUS(ended->value);
      break;
    }
    if (gone) break;
    session.await(exchange);
  }
  write_end(exchange, status);
}

}  // namespace runner::daemon
