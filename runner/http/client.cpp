// Beast parses, the descriptor is read by hand: asio's synchronous calls know no interruption and no deadline
// (runner/http/README.md says more). The only Beast unit of this folder.
#include "runner/http/client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <array>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <span>

#include "runner/os/fd.hpp"

namespace runner::http {
namespace {

namespace beast = boost::beast;

constexpr std::size_t kReadBytes = 64 * 1024;  // one socket buffer's worth: few system calls for a log or a download

// Where the pieces of an answer go: to the caller, or into `refusal` when the status says that they are an error.
struct Sink {
  const WriteSome* write = nullptr;
  std::string refusal = {};
  bool refused = false;
};

// A Beast body that keeps nothing: what arrives is handed on at once.
struct SinkBody {
  using value_type = Sink;

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(beast::http::header<is_request, Fields>&, value_type& sink) : sink_(sink) {}
    void init(const boost::optional<std::uint64_t>&, beast::error_code& error) { error = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, beast::error_code& error) {
      error = {};
      std::size_t taken = 0;
      for (const auto piece : beast::buffers_range_ref(buffers)) {
        const std::span bytes(static_cast<const std::byte*>(piece.data()), piece.size());
        if (sink_.refused)
          sink_.refusal.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        else
          (*sink_.write)(bytes);
        taken += piece.size();
      }
      return taken;
    }
    void finish(beast::error_code& error) { error = {}; }

   private:
    value_type& sink_;
  };
};

ConnectionLost lost() {
  return ConnectionLost(ErrorCode::kUnavailable, "the daemon went away", "'runner daemon logs' may say why");
}

os::Fd connect_to(const std::filesystem::path& socket) {
  const std::string path = socket.string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(ErrorCode::kInvalid, "socket " + path + ": the path is longer than 107 bytes",
                "choose a shorter data directory (--home) or socket (--socket)");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw errno_error(errno, "socket");
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
      throw Error(ErrorCode::kUnavailable, "no daemon listens on " + path, "start it with 'runner daemon start'");
    throw errno_error(errno, "connect to " + path, ErrorCode::kUnavailable);
  }
  return fd;
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(const std::filesystem::path& socket) : socket_(socket), fd_(connect_to(socket)) {}

  int exchange(std::string_view method, std::string_view target, std::string_view body, Sink& sink,
               std::string& content_type) {
    if (!fd_) fd_ = connect_to(socket_);
    // Taken out for the duration: whatever throws leaves no half-read connection behind.
    os::Fd fd = std::move(fd_);
    send(fd, method, target, body);

    beast::flat_buffer buffer;
    for (;;) {
      beast::http::response_parser<SinkBody> parser;
      parser.get().body().write = sink.write;
      read_response(fd, buffer, parser);
      if (const unsigned status = parser.get().result_int(); status / 100 == 1) {
        tell(parser.get()[beast::string_view(kNoticeHeader.data(), kNoticeHeader.size())]);
        continue;  // an interim response: the answer is still to come
      }
      Sink& filled = parser.get().body();
      sink.refused = filled.refused;
      sink.refusal = std::move(filled.refusal);
      content_type = std::string(parser.get()[beast::http::field::content_type]);
      if (parser.keep_alive()) fd_ = std::move(fd);
      return static_cast<int>(parser.get().result_int());
    }
  }

  int interrupt_fd = -1;
  std::function<void(const std::string&)> tell_notice;
  std::function<void(std::int64_t)> tell_offset;

 private:
  using Parser = beast::http::response_parser<SinkBody>;

  void tell(beast::string_view encoded) const {
    Request decoded;  // the header is encoded as a path's segment is
    if (!tell_notice || encoded.empty() || !parse_target("/" + std::string(encoded), decoded)) return;
    if (!decoded.path.empty()) tell_notice(decoded.path[0]);
  }

  void tell_offset_of(beast::string_view header) const {
    std::int64_t offset = 0;
    const char* end = header.data() + header.size();
    if (tell_offset && !header.empty() && std::from_chars(header.data(), end, offset).ptr == end) tell_offset(offset);
  }

  // One response off the connection; what follows it stays in the buffer.
  void read_response(const os::Fd& fd, beast::flat_buffer& buffer, Parser& parser) const {
    parser.body_limit(std::numeric_limits<std::uint64_t>::max());  // 1.74 takes boost::none for a limit of nothing
    beast::error_code error;
    while (!parser.is_done()) {
      if (buffer.size() > 0) {
        const std::size_t used = parser.put(buffer.data(), error);
        buffer.consume(used);
        if (error && error != beast::http::error::need_more)
          throw Error(ErrorCode::kInternal, "the daemon's answer is not HTTP: " + error.message());
        if (parser.is_header_done() && !parser.eager()) {  // the body has not been touched yet
          parser.get().body().refused = parser.get().result_int() >= 400;
          tell_offset_of(parser.get()[beast::string_view(kOffsetHeader.data(), kOffsetHeader.size())]);
          parser.eager(true);
        }
        if (parser.is_done()) break;
        if (!error && used > 0) continue;
      }
      const std::size_t got = receive(fd, buffer);
      if (got > 0) continue;
      if (!parser.got_some()) throw lost();
      parser.put_eof(error);  // an answer without a length ends with the connection; any other is cut short
      if (error || !parser.is_done()) throw lost();
    }
  }

  static void send(const os::Fd& fd, std::string_view method, std::string_view target, std::string_view body) {
    std::string head;
    head.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: runner\r\n");
    if (!body.empty() || method != "GET")
      head.append("Content-Type: application/json\r\nContent-Length: ")
          .append(std::to_string(body.size()))
          .append("\r\n");
    head.append("\r\n");
    std::array<std::string_view, 2> pieces{head, body};
    while (!pieces[0].empty() || !pieces[1].empty()) {
      std::array<iovec, 2> vectors{iovec{const_cast<char*>(pieces[0].data()), pieces[0].size()},
                                   iovec{const_cast<char*>(pieces[1].data()), pieces[1].size()}};
      msghdr message{};
      message.msg_iov = vectors.data();
      message.msg_iovlen = vectors.size();
      const ssize_t sent = ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      // The server may have refused (413, 503) and closed while we were still writing: its answer is there to be read.
      if (sent < 0) return;
      auto left = static_cast<std::size_t>(sent);
      for (std::string_view& piece : pieces) {
        const std::size_t step = std::min(left, piece.size());
        piece.remove_prefix(step);
        left -= step;
      }
    }
  }

  // 0: the peer has closed.
  std::size_t receive(const os::Fd& fd, beast::flat_buffer& buffer) const {
    for (;;) {
      if (interrupt_fd >= 0) {
        std::array<pollfd, 2> polled{pollfd{fd.get(), POLLIN, 0}, pollfd{interrupt_fd, POLLIN, 0}};
        if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) throw lost();
        if (polled[1].revents != 0) throw Interrupted{};
        if (polled[0].revents == 0) continue;
      }
      const auto space = buffer.prepare(kReadBytes);
      const ssize_t got = ::recv(fd.get(), space.data(), space.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw lost();
      buffer.commit(static_cast<std::size_t>(got));
      return static_cast<std::size_t>(got);
    }
  }

  std::filesystem::path socket_;
  os::Fd fd_;
};

Client::Client(const std::filesystem::path& socket) : impl_(std::make_unique<Impl>(socket)) {}
Client::~Client() = default;

Response Client::call(std::string_view method, std::string_view target, std::string_view body) {
  Response response;
  const WriteSome append = [&response](std::span<const std::byte> piece) {
    response.body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  };
  Sink sink{.write = &append};
  response.status = impl_->exchange(method, target, body, sink, response.content_type);
  if (sink.refused) {
    response.body = std::move(sink.refusal);
    throw error_from(response);
  }
  return response;
}

void Client::stream(std::string_view method, std::string_view target, const WriteSome& write, std::string_view body) {
  Response response;
  Sink sink{.write = &write};
  response.status = impl_->exchange(method, target, body, sink, response.content_type);
  if (sink.refused) {
    response.body = std::move(sink.refusal);
    throw error_from(response);
  }
}

void Client::tell_notices(std::function<void(const std::string&)> tell) { impl_->tell_notice = std::move(tell); }

void Client::tell_offset(std::function<void(std::int64_t)> tell) { impl_->tell_offset = std::move(tell); }

void Client::interrupt_on(int fd) { impl_->interrupt_fd = fd; }

}  // namespace runner::http
