// Beast parses what the peer sends; reading, writing and waiting are ours, because each of them must end at a deadline,
// when the peer goes, and when the server stops. The only Beast unit of this folder.
#include "runner/daemon/http_connection.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <charconv>
#include <limits>
#include <new>
#include <stdexcept>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::daemon {
namespace {

namespace beast = boost::beast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::size_t kReadBytes = 16 * 1024;  // a submission with its environment variables in one read
constexpr std::size_t kLargeBody = 1 << 20;    // a larger one needs a place
constexpr milliseconds kStopGrace{500};        // a blocked writer's time once the server stops
constexpr milliseconds kDrainTime{1000};       // for a refused peer to notice, before its unread bytes reset it
constexpr std::size_t kDrainBytes = 64 << 20;  // and at most so much of what it still sends

int poll_milliseconds(nanoseconds until) {
  const auto left = std::chrono::ceil<milliseconds>(until - os::monotonic_now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
}

iovec as_iovec(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

// The request could not be read; the answer closes the connection.
struct Refusal {
  int status;
  std::string message;
  ErrorCode code = ErrorCode::kInvalid;
};
// Nothing can be answered any more, or nothing was asked: just close.
struct Closed {};

Refusal refusal_for(const beast::error_code& error, const ServerLimits& limits) {
  if (error == beast::http::error::header_limit || error == beast::http::error::buffer_overflow)
    return {431, "the request's header is larger than " + std::to_string(limits.header_bytes) + " bytes"};
  if (error == beast::http::error::body_limit)
    return {413, "the request's body is larger than " + std::to_string(limits.body_bytes) + " bytes"};
  if (error == beast::http::error::partial_message) return {400, "the request ended early"};
  return {400, "not a well-formed HTTP/1.1 request: " + error.message()};
}

// One of a bounded number of places, given back at the end.
class Place {
 public:
  Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { give_back(); }

  // False: all of them are taken. True as well if this one is held already.
  bool take(std::atomic<std::size_t>& taken, std::size_t most) {
    if (taken_ != nullptr) return true;
    if (taken.fetch_add(1) >= most) {
      taken.fetch_sub(1);
      return false;
    }
    taken_ = &taken;
    return true;
  }
  void give_back() {
    if (taken_ != nullptr) taken_->fetch_sub(1);
    taken_ = nullptr;
  }

 private:
  std::atomic<std::size_t>* taken_ = nullptr;
};

class Connection final : public Exchange {
 public:
  Connection(PeerSocket& peer, ServerState& server)
      : peer_(peer), socket_(peer.fd()), owed_since_(peer.owed_since), server_(server) {}
  ~Connection() override {
    end_waiting();
    if (!owner_.empty()) server_.owners.leave(owner_, peer_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void serve();

  void respond(const http::Response& response) override;
  void inform(std::string_view notice) override;
  const std::string& owner() const override { return owner_; }
  pid_t peer() const override {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    return ::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? credentials.pid : 0;
  }
  void close_afterwards() override { keep_alive_ = false; }
  void set_header(std::string_view name, std::string_view value) override;
  void start_stream(int status, std::string_view content_type, std::optional<std::int64_t> length) override;
  void write(std::span<const std::byte> piece) override;
  void finish_stream() override;
  void expect_to_wait() override;
  bool wait(int wake_fd, std::optional<milliseconds> limit) override;

  void refuse(const Refusal& refusal);

 private:
  enum class Answer { kNone, kStreaming, kChunked, kDone };

  void read_request();
  void require_owner(std::string_view authorization);
  void end_waiting();
  void receive(std::optional<nanoseconds> deadline);
  void answer();
  std::string head(int status, std::string_view content_type) const;
  void send(std::array<iovec, 3> pieces);
  void await_writable(nanoseconds deadline);
  void drain() noexcept;
  bool stopping() const;

  PeerSocket& peer_;
  const os::Fd& socket_;
  OwedSince& owed_since_;
  ServerState& server_;
  std::string owner_;  // this connection is one of its; empty: nobody's yet
  Place waiting_;
  bool owner_waits_ = false;
  Place large_;
  beast::flat_buffer buffer_;  // received, not yet parsed: the next request's beginning, too

  http::Request request_;
  unsigned version_ = 11;  // HTTP/1.0 knows no chunks
  bool keep_alive_ = false;

  Answer answered_ = Answer::kNone;
  std::string headers_;         // of the answer, whole lines
  std::int64_t announced_ = 0;  // bytes of a stream with a known length that are still owed
  std::optional<nanoseconds> stop_deadline_;
};

bool Connection::stopping() const {
  pollfd polled{server_.stopping.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

// --- reading

// Waits for bytes and appends them to the buffer. Throws Closed at the end of the stream with nothing read and on
// shutdown.
void Connection::receive(std::optional<nanoseconds> deadline) {
  for (;;) {
    std::array<pollfd, 2> polled{pollfd{socket_.get(), POLLIN, 0}, pollfd{server_.stopping.get(), POLLIN, 0}};
    const int ready = ::poll(polled.data(), polled.size(), deadline ? poll_milliseconds(*deadline) : -1);
    if (ready < 0 && errno != EINTR) throw Closed{};
    if (polled[1].revents != 0) throw Closed{};
    if (ready == 0) throw Refusal{408, "the request did not arrive in time"};
    if (polled[0].revents == 0) continue;
    const auto space = buffer_.prepare(kReadBytes);
    const ssize_t got = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) throw Closed{};
    buffer_.commit(static_cast<std::size_t>(got));
    return;
  }
}

void Connection::read_request() {
  // A new connection owes from its beginning, and may have been turned out before this thread came to it.
  std::int64_t owed_since = kServed;
  const std::int64_t now = os::monotonic_now().count();
  if (owed_since_.compare_exchange_strong(owed_since, now)) owed_since = now;
  if (owed_since == kTurnedOut) throw Closed{};
  // An idle keep-alive connection costs next to nothing: no deadline before the first byte.
  if (buffer_.size() == 0) receive(std::nullopt);
  const nanoseconds deadline = os::monotonic_now() + server_.limits.read;

  beast::http::request_parser<beast::http::string_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(server_.limits.header_bytes));
  parser.body_limit(server_.limits.body_bytes);
  beast::error_code error;
  bool began = false;
  bool continue_sent = false;
  while (!parser.is_done()) {
    const std::size_t used = buffer_.size() > 0 ? parser.put(buffer_.data(), error) : 0;
    buffer_.consume(used);
    if (error && error != beast::http::error::need_more) throw refusal_for(error, server_.limits);
    began = began || parser.got_some();
    if (parser.is_header_done() && !continue_sent) {
      continue_sent = true;
      parser.eager(true);
      const auto authorization = parser.get()[beast::http::field::authorization];
      require_owner({authorization.data(), authorization.size()});
      // curl asks before it sends more than a megabyte; without an answer it waits a second.
      const auto expect = parser.get()[beast::http::field::expect];
      if (!parser.is_done() && beast::iequals(expect, "100-continue")) {
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        send({as_iovec(kContinue), {}, {}});
      }
    }
    if (parser.get().body().size() > kLargeBody && !large_.take(server_.large, server_.limits.large_bodies))
      throw Refusal{503, "too many large requests at once: try again in a moment", ErrorCode::kUnavailable};
    if (parser.is_done()) break;
    // A line that never ends: of the header, of a chunk, behind the last chunk.
    if (buffer_.size() > server_.limits.header_bytes + kReadBytes)
      throw refusal_for(beast::http::error::header_limit, server_.limits);
    if (used > 0 && buffer_.size() > 0 && !error) continue;
    try {
      receive(deadline);
    } catch (const Closed&) {
      if (stopping() || !began) throw;
      throw refusal_for(beast::http::error::partial_message,
                        server_.limits);  // a peer that only half-closed can read it
    }
    error = {};
  }

  if (!owed_since_.compare_exchange_strong(owed_since, kServed)) throw Closed{};  // turned out: it may ask again

  const auto& message = parser.get();
  const auto as_view = [](beast::string_view text) { return std::string_view(text.data(), text.size()); };
  version_ = message.version();
  keep_alive_ = message.keep_alive();
  request_ = {};
  request_.method = as_view(message.method_string());
  if (!http::parse_target(as_view(message.target()), request_))
    throw Refusal{400, "the request's target is not a well-formed path"};
  if (const auto range = message.find(beast::http::field::range); range != message.end())
    request_.range = as_view(range->value());
  request_.body = std::move(parser.get().body());
}

// Before the body: who may not ask costs no more than a header.
void Connection::require_owner(std::string_view authorization) {
  if (!server_.access.owner_of) return;
  std::optional<std::string> owner;
  try {
    owner = server_.access.owner_of(authorization);
  } catch (const Error& error) {
    throw Refusal{http::error_response(error).status, error.message(), error.code()};
  }
  if (!owner) throw Refusal{401, "no valid token", ErrorCode::kPermission};
  if (*owner == owner_) return;
  if (!owner_.empty()) server_.owners.leave(std::exchange(owner_, {}), peer_);
  // One that is being served now may owe its next request in a moment, and makes room when it has for a while.
  const nanoseconds until = os::monotonic_now() + 2 * server_.limits.patience;
  while (!server_.owners.admit(*owner, peer_, server_.access.connections, server_.limits.patience)) {
    if (os::monotonic_now() >= until)
      throw Refusal{503, "this run has " + std::to_string(server_.access.connections) + " connections already",
                    ErrorCode::kUnavailable};
    constexpr int kPauseMilliseconds = 5;
    pollfd stop{server_.stopping.get(), POLLIN, 0};
    if (::poll(&stop, 1, kPauseMilliseconds) > 0) throw Closed{};
  }
  owner_ = std::move(*owner);
}

// --- writing

std::string Connection::head(int status, std::string_view content_type) const {
  const auto reason = beast::http::obsolete_reason(beast::http::int_to_status(static_cast<unsigned>(status)));
  std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
  text.append(reason.data(), reason.size()).append("\r\nServer: runner\r\nContent-Type: ").append(content_type);
  text.append(keep_alive_ ? "\r\n" : "\r\nConnection: close\r\n").append(headers_);
  return text;
}

void Connection::await_writable(nanoseconds deadline) {
  for (;;) {
    std::array<pollfd, 2> polled{pollfd{socket_.get(), POLLOUT, 0}, pollfd{server_.stopping.get(), POLLIN, 0}};
    // Once the shutdown is known its descriptor is always readable: leave it out, or this would spin.
    const nfds_t count = stop_deadline_ ? 1 : 2;
    const nanoseconds until = stop_deadline_ ? std::min(deadline, *stop_deadline_) : deadline;
    const int ready = ::poll(polled.data(), count, poll_milliseconds(until));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) throw ClientGone{};
    if (count == 2 && polled[1].revents != 0) stop_deadline_ = os::monotonic_now() + kStopGrace;
    if (polled[0].revents != 0) return;
  }
}

void Connection::send(std::array<iovec, 3> pieces) {
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  // For a peer that reads nothing, which every accepted byte renews; and one for the whole, or reading next to nothing
  // would keep a place for ever.
  nanoseconds stalled = os::monotonic_now() + server_.limits.write;
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  const nanoseconds deadline = os::monotonic_now() + server_.limits.write +
                               std::chrono::seconds(1) * static_cast<std::int64_t>(size) / server_.limits.least_rate;
  while (message.msg_iovlen > 0) {
    if (message.msg_iov->iov_len == 0) {
      ++message.msg_iov;
      --message.msg_iovlen;
      continue;
    }
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      await_writable(std::min(stalled, deadline));
      continue;
    }
    if (sent < 0) throw ClientGone{};
    stalled = os::monotonic_now() + server_.limits.write;
    for (auto left = static_cast<std::size_t>(sent); left > 0;) {
      const std::size_t step = std::min(left, message.msg_iov->iov_len);
      message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + step;
      message.msg_iov->iov_len -= step;
      left -= step;
      if (message.msg_iov->iov_len > 0) break;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
  }
}

void Connection::respond(const http::Response& response) {
  if (answered_ != Answer::kNone) throw std::logic_error("a request was answered twice");
  answered_ = Answer::kDone;
  std::string text = head(response.status, response.content_type);
  text.append("Content-Length: ").append(std::to_string(response.body.size())).append("\r\n\r\n");
  send({as_iovec(text), as_iovec(request_.method == "HEAD" ? std::string_view() : response.body), {}});
}

void Connection::inform(std::string_view notice) {
  if (answered_ != Answer::kNone) throw std::logic_error("a notice after the answer");
  if (version_ < 11) return;  // HTTP/1.0 knows no interim responses
  const std::string text = "HTTP/1.1 102 Processing\r\n" + std::string(http::kNoticeHeader) + ": " +
                           http::percent_encode(notice) + "\r\n\r\n";
  send({as_iovec(text), {}, {}});
}

void Connection::set_header(std::string_view name, std::string_view value) {
  if (answered_ != Answer::kNone) throw std::logic_error("a header after the answer");
  headers_.append(name).append(": ").append(value).append("\r\n");
}

void Connection::start_stream(int status, std::string_view content_type, std::optional<std::int64_t> length) {
  if (answered_ != Answer::kNone) throw std::logic_error("a request was answered twice");
  if (!length && version_ < 11) keep_alive_ = false;  // the end of the connection is the end of the body
  answered_ = length || version_ < 11 ? Answer::kStreaming : Answer::kChunked;
  announced_ = length.value_or(version_ < 11 ? std::numeric_limits<std::int64_t>::max() : 0);
  std::string text = head(status, content_type);
  if (length) text.append("Content-Length: ").append(std::to_string(*length)).append("\r\n");
  if (answered_ == Answer::kChunked) text.append("Transfer-Encoding: chunked\r\n");
  text.append("\r\n");
  send({as_iovec(text), {}, {}});
}

void Connection::write(std::span<const std::byte> piece) {
  const std::string_view bytes(reinterpret_cast<const char*>(piece.data()), piece.size());
  if (answered_ != Answer::kStreaming && answered_ != Answer::kChunked)
    throw std::logic_error("write() outside of a stream");
  if (bytes.empty() || request_.method == "HEAD") return;  // an empty chunk would end the body
  if (answered_ == Answer::kStreaming) {
    announced_ -= static_cast<std::int64_t>(bytes.size());
    if (announced_ < 0) throw std::logic_error("a stream is longer than was announced");
    send({as_iovec(bytes), {}, {}});
    return;
  }
  std::array<char, 20> size{};
  char* end = std::to_chars(size.data(), size.data() + size.size() - 2, bytes.size(), 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  send({as_iovec({size.data(), static_cast<std::size_t>(end - size.data())}), as_iovec(bytes), as_iovec("\r\n")});
}

void Connection::finish_stream() {
  if (answered_ != Answer::kStreaming && answered_ != Answer::kChunked)
    throw std::logic_error("finish_stream() outside of a stream");
  const bool chunked = answered_ == Answer::kChunked;
  answered_ = Answer::kDone;
  if (request_.method == "HEAD") return;
  if (chunked) send({as_iovec("0\r\n\r\n"), {}, {}});
  // Shorter than announced: only the end of the connection tells the peer.
  if (!chunked && announced_ > 0) keep_alive_ = false;
}

void Connection::expect_to_wait() {
  const auto too_many = [](std::size_t most) {
    return Error(ErrorCode::kUnavailable, std::to_string(most) + " others follow runs or wait for them already",
                 "end some of them, or ask without following");
  };
  if (!owner_.empty() && !owner_waits_) {
    if (!server_.owners.begin_to_wait(owner_, server_.access.waiting)) throw too_many(server_.access.waiting);
    owner_waits_ = true;
  }
  if (!waiting_.take(server_.waiting, server_.limits.waiting)) throw too_many(server_.limits.waiting);
}

void Connection::end_waiting() {
  if (std::exchange(owner_waits_, false)) server_.owners.end_waiting(owner_);
  waiting_.give_back();
}

bool Connection::wait(int wake_fd, std::optional<milliseconds> limit) {
  const std::optional<nanoseconds> deadline =
      limit ? std::optional<nanoseconds>(os::monotonic_now() + *limit) : std::nullopt;
  for (;;) {
    // No event is asked of the peer: POLLHUP comes unasked, when it has closed or died. POLLRDHUP would also fire for
    // one that only finished sending (shutdown(SHUT_WR), as `nc -N` does) and still listens.
    std::array<pollfd, 3> polled{pollfd{socket_.get(), 0, 0}, pollfd{wake_fd, POLLIN, 0},
                                 pollfd{server_.stopping.get(), POLLIN, 0}};
    const int ready = ::poll(polled.data(), polled.size(), deadline ? poll_milliseconds(*deadline) : -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0 || polled[0].revents != 0) throw ClientGone{};
    if (polled[2].revents != 0) return false;
    return true;
  }
}

// --- the loop

void Connection::refuse(const Refusal& refusal) {
  keep_alive_ = false;
  answered_ = Answer::kNone;
  headers_.clear();
  if (refusal.status == 401) headers_ = "WWW-Authenticate: Bearer\r\n";
  request_.method.clear();
  respond({.status = refusal.status, .body = http::error_json(Error(refusal.code, refusal.message))});
}

void Connection::answer() {
  answered_ = Answer::kNone;
  headers_.clear();
  stop_deadline_.reset();
  try {
    server_.handler(request_, *this);
    if (answered_ == Answer::kNone) throw std::logic_error("the request was not answered");
    if (answered_ != Answer::kDone) throw Closed{};
  } catch (const Error& error) {
    if (answered_ != Answer::kNone) throw Closed{};
    respond(http::error_response(error));
  } catch (const std::exception& error) {
    if (answered_ != Answer::kNone) throw Closed{};
    respond(http::error_response(Error(ErrorCode::kInternal, error.what())));
  }
}

// Closing with unread bytes in our queue would reset the connection under the peer's nose before it has read why.
void Connection::drain() noexcept {
  ::shutdown(socket_.get(), SHUT_WR);
  const nanoseconds deadline = os::monotonic_now() + kDrainTime;
  std::array<char, 8192> discarded;
  for (std::size_t total = 0; total < kDrainBytes;) {
    std::array<pollfd, 2> polled{pollfd{socket_.get(), POLLIN, 0}, pollfd{server_.stopping.get(), POLLIN, 0}};
    if (::poll(polled.data(), polled.size(), poll_milliseconds(deadline)) <= 0 || polled[1].revents != 0) return;
    const ssize_t got = ::recv(socket_.get(), discarded.data(), discarded.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    total += static_cast<std::size_t>(got);
  }
}

void Connection::serve() {
  do {
    try {
      read_request();
    } catch (const Refusal& refusal) {
      refuse(refusal);
      drain();
      return;
    }
    answer();
    end_waiting();
    large_.give_back();
    request_ = {};
    if (buffer_.size() == 0) buffer_ = {};  // an idle connection keeps no memory of a large request
  } while (keep_alive_ && !stopping());
}

}  // namespace

void serve_connection(PeerSocket& peer, ServerState& server) noexcept {
  try {
    Connection(peer, server).serve();
  } catch (const ClientGone&) {
  } catch (const Closed&) {
  } catch (...) {
    // Out of memory, say: this connection ends, the daemon does not.
  }
}

void refuse_connection(os::Fd socket, int status, const Error& why) noexcept {
  try {
    const std::string body = http::error_json(why);
    const std::string text = "HTTP/1.1 " + std::to_string(status) +
                             " Refused\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body;
    // A fresh socket's buffer is empty: this does not block, and if it fails the close says enough.
    static_cast<void>(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace runner::daemon
