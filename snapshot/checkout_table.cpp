#include "snapshot/checkout_table.hpp"

#include <algorithm>
#include <utility>

namespace runner::snapshot {
namespace {

bool lies_on(const CheckoutRecord& record, const Hash& layer) {
  return std::find(record.below.begin(), record.below.end(), layer) != record.below.end();
}

}  // namespace

void CheckoutTable::add(CheckoutDirectory::Scan& scan, std::chrono::steady_clock::time_point sync_due) {
  for (auto& found : scan.found)
    checkouts_.emplace(found.snapshot, Checkout{.state = found.trusted ? State::kReady : State::kDistrusted,
                                                .record = std::move(found.record),
                                                .last_used = found.last_used,
                                                .sync_due = sync_due});
  // A live run may use one that is not trusted, and then what is there of its layers must stay: no more, no less.
  for (auto& [snapshot, checkout] : checkouts_)
    std::erase_if(checkout.record.below, [this](const Hash& layer) { return !checkouts_.contains(layer); });
}

CheckoutTable::Checkout* CheckoutTable::find(const Hash& snapshot) {
  const auto at = checkouts_.find(snapshot);
  return at == checkouts_.end() ? nullptr : &at->second;
}

const CheckoutTable::Checkout* CheckoutTable::find(const Hash& snapshot) const {
  const auto at = checkouts_.find(snapshot);
  return at == checkouts_.end() ? nullptr : &at->second;
}

std::vector<Hash> CheckoutTable::stack_of(const Hash& snapshot) const {
  std::vector<Hash> stack{snapshot};
  const auto& below = checkouts_.at(snapshot).record.below;
  stack.insert(stack.end(), below.begin(), below.end());
  return stack;
}

void CheckoutTable::count(const Hash& snapshot, int change) {
  for (const Hash& layer : stack_of(snapshot)) checkouts_.at(layer).uses += change;
}

void CheckoutTable::pin(const Hash& snapshot, const std::string& owner) {
  auto& pinned = owners_[owner];
  if (std::find(pinned.begin(), pinned.end(), snapshot) != pinned.end()) return;
  pinned.push_back(snapshot);
  use(snapshot);
}

void CheckoutTable::unpin(const Hash& snapshot, const std::string& owner) {
  const auto at = owners_.find(owner);
  if (at == owners_.end() || std::erase(at->second, snapshot) == 0) return;
  disuse(snapshot);
  if (at->second.empty()) owners_.erase(at);
}

bool CheckoutTable::release(const std::string& owner) {
  const auto at = owners_.find(owner);
  if (at == owners_.end()) return false;
  for (const Hash& snapshot : at->second) disuse(snapshot);
  owners_.erase(at);
  return true;
}

void CheckoutTable::distrust(const Hash& vanished) {
  for (auto& [snapshot, checkout] : checkouts_)
    if (checkout.state == State::kReady && (snapshot == vanished || lies_on(checkout.record, vanished)))
      checkout.state = State::kDistrusted;
}

bool CheckoutTable::may_leave(const Hash& snapshot) const {
  const Checkout& checkout = checkouts_.at(snapshot);
  if (checkout.uses > 0 || (checkout.state != State::kReady && checkout.state != State::kDistrusted)) return false;
  return std::none_of(checkouts_.begin(), checkouts_.end(),
                      [&](const auto& other) { return lies_on(other.second.record, snapshot); });
}

std::optional<Hash> CheckoutTable::surplus(std::int64_t bytes, std::size_t count) const {
  const auto order = [](const Checkout& checkout) {
    return std::pair(checkout.state != State::kDistrusted, checkout.last_used);
  };
  std::int64_t present = 0;
  const Hash* first = nullptr;
  for (const auto& [snapshot, checkout] : checkouts_) {
    present += checkout.record.disk;
    if (may_leave(snapshot) && (!first || order(checkout) < order(checkouts_.at(*first)))) first = &snapshot;
  }
  if (!first) return std::nullopt;
  const bool too_much = present > bytes || checkouts_.size() > count;
  return too_much || checkouts_.at(*first).state == State::kDistrusted ? std::optional(*first) : std::nullopt;
}

std::vector<LayerBase> CheckoutTable::bases(std::size_t layers, std::size_t most) const {
  std::vector<std::pair<UtcTime, LayerBase>> found;
  for (const auto& [snapshot, checkout] : checkouts_)
    if (checkout.state == State::kReady && checkout.record.below.size() + 1 < layers)
      found.push_back({checkout.last_used,
                       {.snapshot = snapshot, .weight = checkout.record.weight, .below = checkout.record.below}});
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (found.size() > most) found.resize(most);
  std::vector<LayerBase> bases;
  for (auto& [time, base] : found) bases.push_back(std::move(base));
  return bases;
}

std::optional<std::chrono::steady_clock::time_point> CheckoutTable::next_sync() const {
  std::optional<std::chrono::steady_clock::time_point> next;
  for (const auto& [snapshot, checkout] : checkouts_)
    if (checkout.state == State::kReady && !checkout.record.synced && (!next || checkout.sync_due < *next))
      next = checkout.sync_due;
  return next;
}

}  // namespace runner::snapshot
