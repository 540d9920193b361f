// Threads: one acceptor ("http-accept") and one for each connection ("http-peer"). The acceptor alone owns the list of
// connection threads; it joins those that have ended when the next peer comes, and all of them at the end.
#include "runner/daemon/http_server.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>
#include <mutex>
#include <optional>

#include "runner/core/error.hpp"
#include "runner/core/sanitized.hpp"
#include "runner/daemon/http_connection.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"

namespace runner::daemon {
namespace {

// Handlers run on this stack, and trees are walked on it recursively: a level of the deepest directory there may be in
// a snapshot (2 000) takes up to 1.5 KiB. Only touched pages are resident, glibc returns them when the thread ends.
constexpr std::size_t kStackBytes = kSanitized ? 32 << 20 : 8 << 20;
constexpr int kBacklog = 128;            // connections the kernel holds while the acceptor is busy
constexpr int kLookMilliseconds = 5;     // whether there is room by now
constexpr int kRetryMilliseconds = 100;  // out of descriptors: until then some request will have ended

// A joinable thread with a stack of our size, which std::thread cannot have.
class Thread {
 public:
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() { join(); }

  // `work` must outlive the thread. Error(kUnavailable) when the machine has no thread left.
  void start(const char* name, const std::function<void()>& work) {
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, kStackBytes);
    const int error = ::pthread_create(
        &thread_, &attributes,
        [](void* argument) -> void* {
          (*static_cast<const std::function<void()>*>(argument))();
          return nullptr;
        },
        const_cast<std::function<void()>*>(&work));
    ::pthread_attr_destroy(&attributes);
    if (error != 0) throw errno_error(error, "start a thread", ErrorCode::kUnavailable);
    running_ = true;
    ::pthread_setname_np(thread_, name);
  }
  void join() {
    if (std::exchange(running_, false)) ::pthread_join(thread_, nullptr);
  }

 private:
  pthread_t thread_{};
  bool running_ = false;
};

os::Fd listen_on(const std::filesystem::path& socket) {
  const std::string path = socket.string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(ErrorCode::kInvalid, "socket " + path + ": the path is longer than 107 bytes",
                "choose a shorter data directory (--home) or socket (--socket)");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw errno_error(errno, "socket");
  // Before bind, the socket's own mode becomes the file's: no moment with another mode, no process-wide umask.
  if (::fchmod(fd.get(), 0600) != 0) throw errno_error(errno, "chmod " + path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw errno_error(errno, "remove " + path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw errno_error(errno, "bind " + path);
  if (::listen(fd.get(), kBacklog) != 0) throw errno_error(errno, "listen on " + path);
  return fd;
}

// The second line behind the socket's mode.
bool may_talk_to_us(const os::Fd& peer) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return false;
  return credentials.uid == ::geteuid() || credentials.uid == 0;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const std::filesystem::path& socket, Handler handler, ServerLimits limits, ServerAccess access)
      : state_{.handler = std::move(handler),
               .limits = limits,
               .access = std::move(access),
               .stopping = os::Fd(::eventfd(0, EFD_CLOEXEC))},
        path_(socket),
        listener_(listen_on(socket)) {
    if (!state_.stopping) throw errno_error(errno, "eventfd");
    acceptor_.start("http-accept", accept_);
  }

  ~Impl() {
    // New clients shall find nobody rather than a queue that is never served.
    ::unlink(path_.c_str());
    static_cast<void>(::eventfd_write(state_.stopping.get(), 1));
    acceptor_.join();
    connections_.clear();
  }

 private:
  struct Peer {
    Peer(os::Fd fd, ServerState& state) : socket(std::move(fd), os::monotonic_now().count()) {
      work = [this, &state] {
        serve_connection(socket, state);
        socket.close();
        ended.store(true, std::memory_order_release);
      };
    }
    PeerSocket socket;
    std::function<void()> work;
    std::atomic<bool> ended{false};
    Thread thread;  // last: joined before the rest goes
  };

  void accept_until_stopped() {
    for (;;) {
      std::array<pollfd, 2> polled{pollfd{listener_.get(), POLLIN, 0}, pollfd{state_.stopping.get(), POLLIN, 0}};
      if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
      if (polled[1].revents != 0) return;
      if (polled[0].revents == 0) continue;
      os::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (socket) {
        admit(std::move(socket));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The connection stays in the queue and the listener readable: wait for a while instead of spinning.
        pollfd stop{state_.stopping.get(), POLLIN, 0};
        static_cast<void>(::poll(&stop, 1, kRetryMilliseconds));
      }
    }
  }

  void remove_ended() {
    connections_.remove_if([](const Peer& peer) { return peer.ended.load(std::memory_order_acquire); });
  }

  // Room for one more, by turning out whoever has owed a request longest, or because an answer ends. False: all have
  // been served for `turn`, and this one has found nobody to turn out for `patience`.
  bool make_room() {
    const auto begin = os::monotonic_now();
    for (remove_ended(); connections_.size() >= state_.limits.connections; remove_ended()) {
      Debtor longest;
      Peer* of_peer = nullptr;
      for (Peer& peer : connections_) {
        longest.consider(peer.socket);
        if (longest.peer == &peer.socket) of_peer = &peer;
      }
      const auto now = os::monotonic_now();
      if (!full_since_) full_since_ = now;
      if (of_peer != nullptr && std::chrono::nanoseconds(longest.since) + state_.limits.patience <= now) {
        if (longest.peer->turn_out(longest.since)) of_peer->thread.join();
        continue;
      }
      if (now - *full_since_ > state_.limits.turn && (of_peer == nullptr || now - begin > state_.limits.patience))
        return false;
      pollfd stop{state_.stopping.get(), POLLIN, 0};
      if (::poll(&stop, 1, kLookMilliseconds) > 0) return false;
    }
    full_since_.reset();
    return true;
  }

  void admit(os::Fd socket) {
    remove_ended();
    if (!state_.access.owner_of && !may_talk_to_us(socket)) {
      refuse_connection(std::move(socket), 403,
                        Error(ErrorCode::kPermission, "this daemon serves the user who started it, and root"));
      return;
    }
    if (!make_room()) {
      refuse_connection(std::move(socket), 503,
                        Error(ErrorCode::kUnavailable, "the daemon has too many connections", "try again in a moment"));
      return;
    }
    try {
      Peer& peer = connections_.emplace_back(std::move(socket), state_);
      try {
        peer.thread.start("http-peer", peer.work);
      } catch (const Error& error) {
        refuse_connection(peer.socket.release(), 503, error);
        connections_.pop_back();
      }
    } catch (const std::bad_alloc&) {
    }
  }

  ServerState state_;
  std::filesystem::path path_;
  os::Fd listener_;
  std::list<Peer> connections_;
  std::optional<std::chrono::nanoseconds> full_since_;  // since when nobody has been admitted for want of room
  const std::function<void()> accept_ = [this] { accept_until_stopped(); };
  Thread acceptor_;
};

HttpServer::HttpServer(const std::filesystem::path& socket, Handler handler, ServerLimits limits, ServerAccess access)
    : impl_(std::make_unique<Impl>(socket, std::move(handler), limits, std::move(access))) {}
HttpServer::~HttpServer() = default;

}  // namespace runner::daemon
