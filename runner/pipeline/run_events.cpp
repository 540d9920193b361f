#include "runner/pipeline/run_events.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "runner/core/error.hpp"

namespace runner::pipeline {

struct RunEvents::Table {
  os::Guarded<std::unordered_multimap<std::string, int>> waiting;  // run id → eventfd of a subscription
};

RunEvents::RunEvents() : table_(std::make_shared<Table>()) {}
RunEvents::~RunEvents() = default;

RunEvents::Subscription::Subscription(std::shared_ptr<Table> table, std::string id, os::Fd fd)
    : table_(std::move(table)), id_(std::move(id)), fd_(std::move(fd)) {}

RunEvents::Subscription::~Subscription() {
  if (!fd_) return;  // moved from
  table_->waiting.with([&](auto& waiting) {
    const auto [begin, end] = waiting.equal_range(id_);
    for (auto it = begin; it != end; ++it) {
      if (it->second != fd_.get()) continue;
      waiting.erase(it);
      return;
    }
  });
}

void RunEvents::Subscription::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &count, sizeof count);  // EAGAIN: nothing happened since
}

RunEvents::Subscription RunEvents::subscribe(const std::string& id) {
  os::Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw errno_error(errno, "eventfd", ErrorCode::kUnavailable);
  table_->waiting.with([&](auto& waiting) { waiting.emplace(id, fd.get()); });
  return Subscription(table_, id, std::move(fd));
}

void RunEvents::notify(const std::string& id) {
  table_->waiting.with([&](auto& waiting) {
    const auto [begin, end] = waiting.equal_range(id);
    constexpr std::uint64_t kOne = 1;
    for (auto it = begin; it != end; ++it) {
      // Never blocks: the counter is far from full and the descriptor is non-blocking.
      [[maybe_unused]] const ssize_t wrote = ::write(it->second, &kOne, sizeof kOne);
    }
  });
}

}  // namespace runner::pipeline
