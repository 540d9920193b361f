// `[laptop]` of the configuration: on battery, hot, or with somebody at work, nothing new starts ("hold"), or what runs
// is paused, too ("freeze"). The judgement is pure; the watch is a thread that looks every few seconds, and exists only
// where something is asked for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace runner::pipeline {

enum class LaptopAction { kRun, kHold, kFreeze };

struct LaptopRules {
  LaptopAction on_battery = LaptopAction::kRun;
  LaptopAction hot = LaptopAction::kRun;
  LaptopAction busy = LaptopAction::kRun;
  std::chrono::milliseconds every{5'000};  // between two looks
  std::chrono::milliseconds calm{30'000};  // without the sign, until it is over
  bool any() const;
};

struct LaptopSigns {
  bool on_battery = false;
  bool hot = false;
  bool busy = false;
};

struct LaptopVerdict {
  LaptopAction action = LaptopAction::kRun;
  std::string reason;  // "on battery"; empty: nothing to say
  bool operator==(const LaptopVerdict&) const = default;
};

class LaptopJudge {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit LaptopJudge(const LaptopRules& rules) : rules_(rules) {}
  // A sign counts at the first look of all, else when two looks in a row have seen it; it is over when none has for
  // `calm`. The strongest action wins; every sign that asks for it is named.
  LaptopVerdict judge(const LaptopSigns& signs, Time now);

 private:
  struct Sign {
    bool seen = false;  // at the last look
    bool counts = false;
    Time last{};
  };
  void look(Sign& sign, bool seen, Time now) const;

  const LaptopRules rules_;
  Sign on_battery_, hot_, busy_;
  bool first_ = true;
};

class LaptopWatch {
 public:
  // Both are called on the watch's thread, `act` after every look. Neither may throw.
  struct Callbacks {
    std::function<LaptopSigns()> look;
    std::function<void(const LaptopVerdict&)> act;
  };
  LaptopWatch(const LaptopRules& rules, Callbacks callbacks);
  ~LaptopWatch();
  void stop();

 private:
  void work(const std::stop_token& stop);

  const std::chrono::milliseconds every_;
  const Callbacks callbacks_;
  LaptopJudge judge_;  // the thread's
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace runner::pipeline
