// What is known of the checkouts, in memory: which are there, what lies on what, who uses them, which may go. Not safe
// for several threads: Checkouts holds its lock.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/time.hpp"
#include "snapshot/checkout_directory.hpp"
#include "snapshot/checkout_layer.hpp"
#include "snapshot/checkout_record.hpp"

namespace runner::snapshot {

class CheckoutTable {
 public:
  enum class State {
    kMaking,      // by the thread that put it here
    kReady,       // whole
    kDistrusted,  // on the disk, and not to be used: damaged, not synced before a reboot, of another version
    kLeaving,     // being renamed away
  };
  struct Checkout {
    State state = State::kMaking;
    CheckoutRecord record{};
    UtcTime last_used{};
    int uses = 0;  // by owners and by work in progress, of it or of what lies on it; it stays while there are any
    std::chrono::steady_clock::time_point sync_due{};
  };

  void add(CheckoutDirectory::Scan& scan, std::chrono::steady_clock::time_point sync_due);
  const std::map<Hash, Checkout>& all() const { return checkouts_; }
  Checkout* find(const Hash& snapshot);
  const Checkout* find(const Hash& snapshot) const;
  Checkout& insert(const Hash& snapshot) { return checkouts_[snapshot]; }
  void erase(const Hash& snapshot) { checkouts_.erase(snapshot); }
  // Itself and the layers below it, topmost first. It is there.
  std::vector<Hash> stack_of(const Hash& snapshot) const;

  // Counted: each use() wants its disuse(). The checkout is there.
  void use(const Hash& snapshot) { count(snapshot, 1); }
  void disuse(const Hash& snapshot) { count(snapshot, -1); }
  // An owner uses a checkout once, however often it asks.
  void pin(const Hash& snapshot, const std::string& owner);
  void unpin(const Hash& snapshot, const std::string& owner);
  bool release(const std::string& owner);  // false: it had none

  // Its files are gone: it and all that lies on it is not to be used any more.
  void distrust(const Hash& vanished);
  // On the disk, used by nobody, and no layer of another.
  bool may_leave(const Hash& snapshot) const;
  // What should go next, if anything: first what is not trusted, then, beyond the limits, what was used longest ago.
  std::optional<Hash> surplus(std::int64_t bytes, std::size_t count) const;
  // Those that a new layer may lie on, the last used first.
  std::vector<LayerBase> bases(std::size_t layers, std::size_t most) const;
  std::optional<std::chrono::steady_clock::time_point> next_sync() const;

 private:
  void count(const Hash& snapshot, int change);

  std::map<Hash, Checkout> checkouts_;
  std::map<std::string, std::vector<Hash>> owners_;
};

}  // namespace runner::snapshot
