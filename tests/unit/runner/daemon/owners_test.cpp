#include "runner/daemon/owners.hpp"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>

#include "runner/os/clock.hpp"

using runner::daemon::kServed;
using runner::daemon::kTurnedOut;
using runner::daemon::Owners;
using runner::daemon::PeerSocket;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
namespace os = runner::os;

namespace {

struct Peer {
  explicit Peer(std::chrono::nanoseconds owes_for) : socket(make(other), (os::monotonic_now() - owes_for).count()) {}
  static os::Fd make(os::Fd& other) {
    std::array<int, 2> pair{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
    other.reset(pair[1]);
    return os::Fd(pair[0]);
  }
  bool is_shut_down() const {
    char byte = 0;
    return ::recv(other.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
  os::Fd other;  // the peer's own end
  PeerSocket socket;
};

}  // namespace

TEST_CASE("one too many turns out that of the owner's own that has owed longest, once it has for a while") {
  Owners owners;
  Peer old(5s), older(9s), served(7s), oldest_of_another(20s), next(0s), another(0s);
  served.socket.owed_since = kServed;
  for (Peer* peer : {&old, &older, &served}) CHECK(owners.admit("a", peer->socket, 3, 1s));
  CHECK(owners.admit("b", oldest_of_another.socket, 3, 1s));
  CHECK_FALSE(owners.admit("a", next.socket, 3, 60s));
  CHECK(owners.admit("a", next.socket, 3, 1s));
  CHECK(older.socket.owed_since == kTurnedOut);
  CHECK(older.is_shut_down());
  CHECK_FALSE(old.is_shut_down());
  CHECK_FALSE(served.is_shut_down());
  CHECK_FALSE(oldest_of_another.is_shut_down());
  CHECK(owners.admit("a", another.socket, 3, 1s));
  CHECK(old.is_shut_down());
}

TEST_CASE("where all of an owner's are being served there is no room until one leaves") {
  Owners owners;
  Peer first(9s), second(9s), next(0s);
  for (Peer* peer : {&first, &second}) {
    peer->socket.owed_since = kServed;
    CHECK(owners.admit("a", peer->socket, 2, 1ms));
  }
  CHECK_FALSE(owners.admit("a", next.socket, 2, 1ms));
  owners.leave("b", first.socket);
  CHECK_FALSE(owners.admit("a", next.socket, 2, 1ms));
  owners.leave("a", first.socket);
  CHECK(owners.admit("a", next.socket, 2, 1ms));
}

TEST_CASE("places to wait are an owner's own and come back") {
  Owners owners;
  CHECK(owners.begin_to_wait("a", 1));
  CHECK_FALSE(owners.begin_to_wait("a", 1));
  CHECK(owners.begin_to_wait("b", 1));
  owners.end_waiting("a");
  CHECK(owners.begin_to_wait("a", 1));
}
