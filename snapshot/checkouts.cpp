#include "snapshot/checkouts.hpp"

#include <pthread.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "snapshot/checkout_directory.hpp"
#include "snapshot/checkout_layer.hpp"
#include "snapshot/checkout_table.hpp"
#include "snapshot/checkout_view.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using State = CheckoutTable::State;

constexpr std::size_t kBases = 8;  // recently used ones that a new layer is compared with

// Calls `work` at the end of a scope, however it ends.
template <class Work>
class AtEnd {
 public:
  explicit AtEnd(Work work) : work_(std::move(work)) {}
  ~AtEnd() { work_(); }
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  Work work_;
};

// What goes wrong with a cache behind everybody's back is no reason to end: it is found again at the next start.
template <class Work>
bool attempt(const Work& work) {
  try {
    work();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

class Checkouts::Impl {
 public:
  Impl(const ContentReader& store, fs::path directory, Limits limits)
      : store_(store), directory_(std::move(directory)), limits_(limits) {
    CheckoutDirectory::Scan scan = directory_.scan();
    table_.add(scan, Clock::now() + limits_.sync_after);
    trash_ = std::move(scan.leftovers);
    thread_ = std::jthread([this](const std::stop_token& stop) { tidy(stop); });
    ::pthread_setname_np(thread_.native_handle(), "checkouts");
  }

  std::vector<fs::path> acquire(const Hash& snapshot, const std::string& owner) {
    for (;;) {
      if (!claim(snapshot, owner)) make(snapshot, owner);
      const UtcTime now = utc_now();
      const std::vector<Hash> stack = note_use(snapshot, now);
      std::vector<fs::path> layers;
      std::optional<Hash> vanished;  // somebody tidied up by hand
      for (const Hash& layer : stack) {
        layers.push_back(directory_.tree(layer));
        if (::access(layers.back().c_str(), F_OK) != 0) vanished = layer;
      }
      if (!vanished) {
        for (const Hash& layer : stack) directory_.note_use(layer, now);
        return layers;
      }
      change([&] {
        table_.unpin(snapshot, owner);
        table_.distrust(*vanished);
      });
    }
  }

  bool ready(const Hash& snapshot) const {
    const std::lock_guard lock(mutex_);
    const auto* checkout = table_.find(snapshot);
    return checkout && checkout->state == State::kReady;
  }

  void adopt(const Hash& snapshot, const std::string& owner) {
    change([&] {
      if (table_.find(snapshot)) table_.pin(snapshot, owner);
    });
  }

  void release(const std::string& owner) {
    change([&] { table_.release(owner); });
  }

  void settle() {
    change([&] { settled_ = true; });
  }

  std::vector<Listed> list() const {
    const std::lock_guard lock(mutex_);
    std::vector<Listed> listed;
    for (const auto& [snapshot, checkout] : table_.all())
      if (checkout.state == State::kReady || checkout.state == State::kDistrusted)
        listed.push_back({.snapshot = snapshot,
                          .bytes = checkout.record.disk,
                          .last_used = checkout.last_used,
                          .in_use = checkout.uses > 0,
                          .below = checkout.record.below});
    return listed;
  }

  bool evict(const Hash& snapshot) {
    {
      std::unique_lock lock(mutex_);
      const auto leaving = [&] {
        const auto* checkout = table_.find(snapshot);
        return checkout && checkout->state == State::kLeaving;
      };
      changed_.wait(lock, [&] { return !leaving(); });
      auto* checkout = table_.find(snapshot);
      if (!checkout) return true;
      if (!settled_ || !table_.may_leave(snapshot)) return false;
      checkout->state = State::kLeaving;
    }
    CheckoutDirectory::remove(retire(snapshot));
    return true;
  }

  std::vector<std::string> verify(const Hash& snapshot) {
    std::vector<fs::path> layers;
    {
      const std::lock_guard lock(mutex_);
      const auto* checkout = table_.find(snapshot);
      if (!checkout || checkout->state != State::kReady)
        throw Error(ErrorCode::kNotFound, "no checkout of snapshot " + snapshot.hex());
      table_.use(snapshot);
      for (const Hash& layer : table_.stack_of(snapshot)) layers.push_back(directory_.tree(layer));
    }
    const AtEnd let_go([&] { change([&] { table_.disuse(snapshot); }); });
    return compare_layers(store_, snapshot, layers);
  }

 private:
  template <class Change>
  void change(const Change& apply) {
    const std::lock_guard lock(mutex_);
    apply();
    ++changes_;
    changed_.notify_all();
  }

  // True: it is there, and the owner's. False: the caller is to make it.
  bool claim(const Hash& snapshot, const std::string& owner) {
    const auto deadline = Clock::now() + limits_.patience;
    std::unique_lock lock(mutex_);
    for (;;) {
      auto* checkout = table_.find(snapshot);
      if (!checkout) {
        table_.insert(snapshot);
        return false;
      }
      if (checkout->state == State::kReady) {
        table_.pin(snapshot, owner);
        return true;
      }
      if (checkout->state != State::kDistrusted) {
        changed_.wait(lock);
        continue;
      }
      table_.unpin(snapshot, owner);  // by `adopt`, for a run that is only about to start: it must not wait for itself
      if (checkout->uses > 0) {
        if (Clock::now() < deadline) {
          changed_.wait_until(lock, deadline);
          continue;
        }
        throw Error(ErrorCode::kConflict, "checkout " + snapshot.hex() + " is not intact, and a live run uses it",
                    "wait for that run to end");
      }
      checkout->state = State::kLeaving;
      lock.unlock();
      fs::path place = retire(snapshot);
      lock.lock();
      trash_.push_back(std::move(place));
    }
  }

  void make(const Hash& snapshot, const std::string& owner) {
    try {
      try {
        make_once(snapshot, owner);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNoSpace || !evict_unused()) throw;
        make_once(snapshot, owner);
      }
    } catch (const Error& error) {
      change([&] { table_.erase(snapshot); });
      const std::string context = "checking out snapshot " + snapshot.hex().substr(0, 12);
      if (error.code() != ErrorCode::kNoSpace) throw error.within(context);
      throw Error(ErrorCode::kNoSpace, context + ": " + error.message(),
                  "free some space there; `runner gc` removes what no run needs");
    } catch (...) {
      change([&] { table_.erase(snapshot); });
      throw;
    }
  }

  void make_once(const Hash& snapshot, const std::string& owner) {
    if (!store_.contains(snapshot)) throw Error(ErrorCode::kNotFound, "no snapshot " + snapshot.hex());
    std::vector<LayerBase> bases;
    change([&] {
      bases = table_.bases(limits_.layers, kBases);
      for (const LayerBase& base : bases) table_.use(base.snapshot);
    });
    const AtEnd let_go([&] {
      change([&] {
        for (const LayerBase& base : bases) table_.disuse(base.snapshot);
      });
    });
    CheckoutRecord record = write_over(snapshot, choose_base(store_, bases, snapshot));
    // Before the bases are let go: from here on those that it lies on are held by it.
    change([&] {
      auto& made = *table_.find(snapshot);
      made.record = std::move(record);
      made.state = State::kReady;
      made.sync_due = Clock::now() + limits_.sync_after;
      table_.pin(snapshot, owner);
    });
  }

  CheckoutRecord write_over(const Hash& snapshot, const std::optional<LayerBase>& base) {
    if (base) {
      try {
        return write_layer(snapshot, &*base);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kNoSpace) throw;
        // A full one needs less; if the content is what is wrong, it says so itself.
      }
    }
    return write_layer(snapshot, nullptr);
  }

  CheckoutRecord write_layer(const Hash& snapshot, const LayerBase* base) {
    const fs::path temporary = directory_.make_temporary();
    try {
      const fs::path tree = CheckoutDirectory::tree_in(temporary);
      const std::string shown = directory_.tree(snapshot).string();
      CheckoutRecord record =
          base ? make_thin_layer(store_, *base, snapshot, tree, shown) : make_full_layer(store_, snapshot, tree, shown);
      record.boot = os::boot_id();
      directory_.publish(temporary, snapshot, record);
      return record;
    } catch (...) {
      attempt([&] { CheckoutDirectory::remove(temporary); });
      throw;
    }
  }

  std::vector<Hash> note_use(const Hash& snapshot, UtcTime now) {
    const std::lock_guard lock(mutex_);
    auto stack = table_.stack_of(snapshot);
    for (const Hash& layer : stack) table_.find(layer)->last_used = now;
    return stack;
  }

  // Of a checkout that is kLeaving: it is no more; where its files can be removed from.
  fs::path retire(const Hash& snapshot) {
    try {
      fs::path place = directory_.retire(snapshot);
      change([&] { table_.erase(snapshot); });
      return place;
    } catch (...) {
      change([&] { table_.find(snapshot)->state = State::kDistrusted; });
      throw;
    }
  }

  // The disk is full: everything that nobody uses goes. False if there was nothing.
  bool evict_unused() {
    for (bool any = false;; any = true) {
      fs::path place;
      std::optional<Hash> victim;
      change([&] {
        if (!trash_.empty()) {
          place = std::move(trash_.back());
          trash_.pop_back();
        } else if (settled_ && (victim = table_.surplus(0, 0))) {
          table_.find(*victim)->state = State::kLeaving;
        }
      });
      if (place.empty() && !victim) return any;
      const bool done = attempt([&] { CheckoutDirectory::remove(victim ? retire(*victim) : place); });
      if (!done) return any;
    }
  }

  // The thread's loop.
  void tidy(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    bool failed = false;  // then not again before something has changed
    while (!stop.stop_requested()) {
      const auto victim =
          settled_ && !failed && trash_.empty() ? table_.surplus(limits_.bytes, limits_.count) : std::nullopt;
      const auto due = table_.next_sync();
      if (!trash_.empty()) {
        const fs::path place = std::move(trash_.back());
        trash_.pop_back();
        lock.unlock();
        attempt([&] { CheckoutDirectory::remove(place, stop); });
        lock.lock();
      } else if (victim) {
        table_.find(*victim)->state = State::kLeaving;
        lock.unlock();
        fs::path place;
        failed = !attempt([&] { place = retire(*victim); });
        lock.lock();
        if (!failed) trash_.push_back(std::move(place));
      } else if (due && *due <= Clock::now()) {
        sync(lock);
      } else {
        failed = false;
        const auto seen = changes_;
        const auto anything = [&] { return changes_ != seen; };
        if (due)
          changed_.wait_until(lock, stop, *due, anything);
        else
          changed_.wait(lock, stop, anything);
      }
    }
  }

  // Those whose time has come are on the disk afterwards, and remembered to be.
  void sync(std::unique_lock<std::mutex>& lock) {
    struct Due {
      Hash snapshot;
      CheckoutRecord record;
      UtcTime last_used;
      bool done = false;
    };
    std::vector<Due> due;
    for (const auto& [snapshot, checkout] : table_.all())
      if (checkout.state == State::kReady && !checkout.record.synced && checkout.sync_due <= Clock::now())
        due.push_back({snapshot, checkout.record, checkout.last_used});
    for (const Due& one : due) table_.use(one.snapshot);
    lock.unlock();
    const bool synced = attempt([&] { directory_.sync(); });
    for (Due& one : due) {
      one.record.synced = true;
      one.done = synced && attempt([&] { directory_.rewrite(one.snapshot, one.record, one.last_used); });
    }
    lock.lock();
    for (const Due& one : due) {
      table_.disuse(one.snapshot);
      auto& checkout = *table_.find(one.snapshot);
      checkout.record.synced = one.done;
      checkout.sync_due = Clock::now() + kAgain;  // if it failed
    }
    ++changes_;
    changed_.notify_all();
  }

  static constexpr std::chrono::minutes kAgain{10};

  const ContentReader& store_;
  const CheckoutDirectory directory_;
  const Limits limits_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable_any changed_;
  CheckoutTable table_;
  std::vector<fs::path> trash_;  // renamed away, to be removed
  std::uint64_t changes_ = 0;
  bool settled_ = false;
  std::jthread thread_;  // last: it uses everything above
};

Checkouts::Checkouts(const ContentReader& store, fs::path directory, Limits limits)
    : impl_(std::make_unique<Impl>(store, std::move(directory), limits)) {}
Checkouts::~Checkouts() = default;

std::vector<fs::path> Checkouts::acquire(const Hash& snapshot, const std::string& owner) {
  return impl_->acquire(snapshot, owner);
}
bool Checkouts::ready(const Hash& snapshot) const { return impl_->ready(snapshot); }
void Checkouts::adopt(const Hash& snapshot, const std::string& owner) { impl_->adopt(snapshot, owner); }
void Checkouts::release(const std::string& owner) { impl_->release(owner); }
void Checkouts::settle() { impl_->settle(); }
std::vector<Checkouts::Listed> Checkouts::list() const { return impl_->list(); }
bool Checkouts::evict(const Hash& snapshot) { return impl_->evict(snapshot); }
std::vector<std::string> Checkouts::verify(const Hash& snapshot) const { return impl_->verify(snapshot); }

}  // namespace runner::snapshot
