#include "runner/daemon/owners.hpp"

#include <sys/socket.h>

#include <algorithm>

#include "runner/os/clock.hpp"

namespace runner::daemon {

void PeerSocket::close() {
  const std::lock_guard lock(closing_);
  socket_.reset();
}

bool PeerSocket::turn_out(std::int64_t since) {
  if (!owed_since.compare_exchange_strong(since, kTurnedOut)) return false;
  const std::lock_guard lock(closing_);
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
  return true;
}

void Debtor::consider(PeerSocket& other) {
  const std::int64_t owed = other.owed_since.load();
  if (owed <= kServed || (peer != nullptr && owed >= since)) return;
  peer = &other;
  since = owed;
}

bool Owners::admit(const std::string& owner, PeerSocket& peer, std::size_t most, std::chrono::nanoseconds patience) {
  return table_.with([&](Table& table) {
    std::vector<PeerSocket*>& peers = table[owner].peers;
    if (peers.size() >= most) {
      Debtor debtor;
      for (PeerSocket* other : peers) debtor.consider(*other);
      if (debtor.peer == nullptr || std::chrono::nanoseconds(debtor.since) + patience > os::monotonic_now() ||
          !debtor.peer->turn_out(debtor.since))
        return false;
      std::erase(peers, debtor.peer);  // its thread may take a moment to end
    }
    peers.push_back(&peer);
    return true;
  });
}

void Owners::leave(const std::string& owner, PeerSocket& peer) {
  table_.with([&](Table& table) {
    const auto owned = table.find(owner);
    if (owned == table.end()) return;
    std::erase(owned->second.peers, &peer);
    forget_if_idle(table, owner);
  });
}

bool Owners::begin_to_wait(const std::string& owner, std::size_t most) {
  return table_.with([&](Table& table) {
    std::size_t& waiting = table[owner].waiting;
    if (waiting >= most) return false;
    ++waiting;
    return true;
  });
}

void Owners::end_waiting(const std::string& owner) {
  table_.with([&](Table& table) {
    --table[owner].waiting;
    forget_if_idle(table, owner);
  });
}

void Owners::forget_if_idle(Table& table, const std::string& owner) {
  const auto owned = table.find(owner);
  if (owned != table.end() && owned->second.peers.empty() && owned->second.waiting == 0) table.erase(owned);
}

}  // namespace runner::daemon
