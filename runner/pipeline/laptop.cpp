#include "runner/pipeline/laptop.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <utility>

namespace runner::pipeline {

bool LaptopRules::any() const {
  return on_battery != LaptopAction::kRun || hot != LaptopAction::kRun || busy != LaptopAction::kRun;
}

void LaptopJudge::look(Sign& sign, bool seen, Time now) const {
  if (seen && (sign.seen || first_)) sign.counts = true;
  if (seen) sign.last = now;
  if (!seen && sign.counts && now - sign.last >= rules_.calm) sign.counts = false;
  sign.seen = seen;
}

LaptopVerdict LaptopJudge::judge(const LaptopSigns& signs, Time now) {
  look(on_battery_, signs.on_battery, now);
  look(hot_, signs.hot, now);
  look(busy_, signs.busy, now);
  first_ = false;
  struct Wish {
    bool counts;
    LaptopAction action;
    const char* reason;
  };
  const std::array wishes{Wish{on_battery_.counts, rules_.on_battery, "on battery"},
                          Wish{hot_.counts, rules_.hot, "the processor is hot"},
                          Wish{busy_.counts, rules_.busy, "somebody works at this machine"}};
  LaptopVerdict verdict;
  for (const Wish& wish : wishes)
    if (wish.counts) verdict.action = std::max(verdict.action, wish.action);
  for (const Wish& wish : wishes)
    if (wish.counts && wish.action == verdict.action && wish.action != LaptopAction::kRun)
      verdict.reason += (verdict.reason.empty() ? "" : ", ") + std::string(wish.reason);
  return verdict;
}

LaptopWatch::LaptopWatch(const LaptopRules& rules, Callbacks callbacks)
    : every_(rules.every), callbacks_(std::move(callbacks)), judge_(rules) {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
  ::pthread_setname_np(thread_.native_handle(), "laptop");
}

LaptopWatch::~LaptopWatch() = default;

void LaptopWatch::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void LaptopWatch::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const LaptopSigns signs = callbacks_.look();
    if (stop.stop_requested()) return;
    callbacks_.act(judge_.judge(signs, LaptopJudge::Time::clock::now()));
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, every_, [] { return false; });
  }
}

}  // namespace runner::pipeline
