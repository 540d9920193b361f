// The connections of an HTTP server, and whose they are. Private to runner/daemon: http_server.cpp and
// http_connection.cpp only.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runner/os/fd.hpp"
#include "runner/os/guarded.hpp"

namespace runner::daemon {

// Since when a peer has owed a whole request: nanoseconds of CLOCK_MONOTONIC, or one of the constants. The connection's
// thread moves it between a time and kServed; who turns the peer out makes a time kTurnedOut.
using OwedSince = std::atomic<std::int64_t>;
inline constexpr std::int64_t kServed = 0;
inline constexpr std::int64_t kTurnedOut = -1;

// One peer's socket: its connection's thread closes it, others may shut it down.
class PeerSocket {
 public:
  PeerSocket(os::Fd socket, std::int64_t now) : owed_since(now), socket_(std::move(socket)) {}

  const os::Fd& fd() const { return socket_; }
  os::Fd release() { return std::move(socket_); }  // before it has a thread
  void close();
  // The thread wakes up, finds its peer gone and ends. False if a request was quicker than this, that is if the peer
  // does not owe one since `since` any more. Any thread.
  bool turn_out(std::int64_t since);

  OwedSince owed_since;

 private:
  os::Fd socket_;
  std::mutex closing_;
};

// Of `peers` the one that has owed a request longest, and since when; nothing if all are being served.
struct Debtor {
  PeerSocket* peer = nullptr;
  std::int64_t since = kServed;
  void consider(PeerSocket& other);
};

// Any thread.
class Owners {
 public:
  // `peer` becomes one of `owner`'s connections, `most` of which there are at a time: the one that has owed a request
  // longest, for `patience` at least, makes room. False: there is no such one yet.
  bool admit(const std::string& owner, PeerSocket& peer, std::size_t most, std::chrono::nanoseconds patience);
  void leave(const std::string& owner, PeerSocket& peer);

  // Places for answers that take as long as a run. False: all `most` are taken.
  bool begin_to_wait(const std::string& owner, std::size_t most);
  void end_waiting(const std::string& owner);

 private:
  struct Owned {
    std::vector<PeerSocket*> peers;
    std::size_t waiting = 0;
  };
  using Table = std::map<std::string, Owned>;
  static void forget_if_idle(Table& table, const std::string& owner);
  os::Guarded<Table> table_;
};

}  // namespace runner::daemon
