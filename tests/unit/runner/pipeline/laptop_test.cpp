#include "runner/pipeline/laptop.hpp"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/pipeline/keep_awake.hpp"
#include "runner/pipeline/machine_signs.hpp"
#include "runner/pipeline/on_end.hpp"

namespace runner::pipeline {
namespace {

using namespace std::chrono_literals;
using std::filesystem::path;

const LaptopRules kRules{
    .on_battery = LaptopAction::kHold, .hot = LaptopAction::kFreeze, .busy = LaptopAction::kRun, .calm = 30s};

class Tree {
 public:
  Tree() {
    std::string name = "/tmp/machine-XXXXXX";
    root = ::mkdtemp(name.data());
  }
  ~Tree() { std::filesystem::remove_all(root); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  void write(const path& relative, const std::string& text) const {
    std::filesystem::create_directories((root / relative).parent_path());
    std::ofstream(root / relative) << text << "\n";
  }
  path root;
};

RunRecord ended_run(const std::string& id) {
  RunRecord run;
  run.id = id;
  run.experiment = "night";
  run.status = RunStatus::kFailed;
  run.status_reason = "exited\nwith \x1b[31m7";
  run.outcome = Outcome{.kind = OutcomeKind::kExited, .exit_code = 7};
  return run;
}

}  // namespace

TEST_CASE("the first look counts at once, later ones when two in a row agree") {
  const LaptopJudge::Time start{};
  LaptopJudge first(kRules);
  CHECK(first.judge({.on_battery = true}, start) == LaptopVerdict{LaptopAction::kHold, "on battery"});

  LaptopJudge judge(kRules);
  CHECK(judge.judge({}, start) == LaptopVerdict{});
  CHECK(judge.judge({.hot = true}, start + 5s) == LaptopVerdict{});
  CHECK(judge.judge({}, start + 10s) == LaptopVerdict{});
  CHECK(judge.judge({.hot = true}, start + 15s) == LaptopVerdict{});
  CHECK(judge.judge({.hot = true}, start + 20s) == LaptopVerdict{LaptopAction::kFreeze, "the processor is hot"});
}

TEST_CASE("a sign is over when it has not been seen for a while") {
  const LaptopJudge::Time start{};
  LaptopJudge judge(kRules);
  judge.judge({.on_battery = true}, start);
  CHECK(judge.judge({}, start + 29s).action == LaptopAction::kHold);
  CHECK(judge.judge({.on_battery = true}, start + 29500ms).action == LaptopAction::kHold);
  CHECK(judge.judge({}, start + 59s).action == LaptopAction::kHold);
  CHECK(judge.judge({}, start + 59500ms) == LaptopVerdict{});
}

TEST_CASE("the strongest action wins, and only what asks for it is named") {
  LaptopJudge judge(kRules);
  CHECK(judge.judge({.on_battery = true, .hot = true, .busy = true}, {}) ==
        LaptopVerdict{LaptopAction::kFreeze, "the processor is hot"});
  LaptopRules both = kRules;
  both.hot = LaptopAction::kHold;
  LaptopJudge other(both);
  CHECK(other.judge({.on_battery = true, .hot = true, .busy = true}, {}) ==
        LaptopVerdict{LaptopAction::kHold, "on battery, the processor is hot"});
  CHECK(both.any());
  CHECK_FALSE(LaptopRules{}.any());
}

TEST_CASE("on battery is: one of the machine's own discharges and no mains is connected") {
  const Tree tree;
  const MachineSigns signs(tree.root);
  CHECK_FALSE(signs.on_battery());
  const path supplies = "sys/class/power_supply";
  tree.write(supplies / "mouse/type", "Battery");
  tree.write(supplies / "mouse/scope", "Device");
  tree.write(supplies / "mouse/status", "Discharging");
  CHECK_FALSE(signs.on_battery());
  tree.write(supplies / "BAT0/type", "Battery");
  tree.write(supplies / "BAT0/status", "Discharging");
  CHECK(signs.on_battery());
  tree.write(supplies / "AC/type", "Mains");
  tree.write(supplies / "AC/online", "0");
  CHECK(signs.on_battery());
  tree.write(supplies / "usb/type", "USB");
  tree.write(supplies / "usb/online", "1");  // a weak charger: the battery discharges all the same
  CHECK_FALSE(signs.on_battery());
  tree.write(supplies / "usb/online", "0");
  tree.write(supplies / "BAT0/status", "Full");
  CHECK_FALSE(signs.on_battery());
}

TEST_CASE("hot is: throttled since the last look, or a zone at its limit") {
  const Tree tree;
  MachineSigns signs(tree.root);
  const path throttle = "sys/devices/system/cpu/cpu3/thermal_throttle";
  tree.write(throttle / "core_throttle_count", "17");
  CHECK_FALSE(signs.hot());
  tree.write(throttle / "core_throttle_count", "18");
  CHECK(signs.hot());
  CHECK_FALSE(signs.hot());
  tree.write(throttle / "package_throttle_count", "5");
  CHECK(signs.hot());

  const path zone = "sys/class/thermal/thermal_zone0";
  tree.write(zone / "temp", "80000");
  tree.write(zone / "trip_point_0_type", "active");
  tree.write(zone / "trip_point_0_temp", "40000");
  tree.write(zone / "trip_point_1_type", "passive");
  tree.write(zone / "trip_point_1_temp", "80001");
  CHECK_FALSE(signs.hot());
  tree.write(zone / "temp", "80001");
  CHECK(signs.hot());
  CHECK(signs.hot());
  tree.write(zone / "mode", "disabled");
  CHECK_FALSE(signs.hot());
  tree.write(zone / "mode", "enabled");
  tree.write(zone / "trip_point_1_temp", "0");
  CHECK_FALSE(signs.hot());
  tree.write(zone / "temp", "nonsense");
  CHECK_FALSE(signs.hot());
}

TEST_CASE("lingering is a file of systemd's") {
  const Tree tree;
  const MachineSigns signs(tree.root);
  CHECK_FALSE(signs.lingers("dev"));
  CHECK_FALSE(signs.has_systemd());
  tree.write("var/lib/systemd/linger/dev", "");
  tree.write("run/systemd/system/x", "");
  CHECK(signs.lingers("dev"));
  CHECK(signs.has_systemd());
  CHECK_FALSE(signs.is_user_service());
  tree.write("proc/self/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/runner.service");
  CHECK(signs.is_user_service());
}

TEST_CASE("one lock is held from the first run's start to the last one's end, and a while longer") {
  std::atomic<int> locks = 0;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const os::Fd reading(ends[0]);
  os::Fd writing(ends[1]);
  {
    std::promise<void> locked;
    KeepAwake keeper(
        [&] {
          if (++locks == 1) locked.set_value();
          return std::move(writing);
        },
        1ms);
    keeper.enter("a");
    keeper.enter("b");
    keeper.enter("b");
    keeper.leave("unknown");
    locked.get_future().wait();
    keeper.leave("a");
    keeper.leave("a");
    char byte = 0;
    keeper.leave("b");
    CHECK(::read(reading.get(), &byte, 1) == 0);  // the lock is given back: its only descriptor is closed
    CHECK(locks == 1);
  }
}

TEST_CASE("without a lock to be had runs go on, and it is asked for again with the next first run") {
  std::promise<void> second;
  int asked = 0;
  KeepAwake keeper(
      [&]() -> os::Fd {
        if (++asked == 2) second.set_value();
        throw Error(ErrorCode::kUnavailable, "no bus");
      },
      1ms);
  auto done = second.get_future();
  while (done.wait_for(1ms) != std::future_status::ready) {
    keeper.enter("a");
    keeper.leave("a");
  }
  keeper.stop();
  keeper.enter("late");
  CHECK(asked >= 2);
}

TEST_CASE("a command is told what has ended, in harmless text") {
  const auto variables = on_end_variables(ended_run("night_1_00000001"));
  const std::map<std::string, std::string> told(variables.begin(), variables.end());
  CHECK(told.at("RUNNER_RUN_ID") == "night_1_00000001");
  CHECK(told.at("RUNNER_STATUS") == "Failed");
  CHECK(told.at("RUNNER_OUTCOME") == "exited");
  CHECK(told.at("RUNNER_EXIT_CODE") == "7");
  CHECK(told.at("RUNNER_REASON") == "exited with  [31m7");
}

TEST_CASE("many ends at once are one notification") {
  const Tree tree;
  std::promise<std::string> shown;
  std::promise<void> gate;
  auto opened = gate.get_future().share();
  std::atomic<int> count = 0;
  OnEnd on_end({.command = {}, .notify = true}, tree.root / "on_end",
               {.get = [](const std::string& id) { return ended_run(id); },
                .notify =
                    [&](const std::string& summary, const std::string& body) {
                      if (++count == 1) return opened.wait();
                      shown.set_value(summary + ": " + body);
                    }});
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "run" + std::to_string(i);
    on_end.expect(id);
    on_end.ended(id);
    while (i == 0 && count == 0) std::this_thread::yield();
  }
  gate.set_value();
  CHECK(shown.get_future().get() == "999 runs have ended: 999 Failed");
  on_end.stop();
  CHECK(count == 2);
  CHECK(std::filesystem::is_empty(tree.root / "on_end"));
}

TEST_CASE("what an earlier daemon left is made up for, if the run has ended") {
  const Tree tree;
  tree.write("on_end/over", "");
  tree.write("on_end/live", "");
  tree.write("on_end/unknown", "");
  std::promise<std::string> shown;
  OnEnd on_end({.command = {}, .notify = true}, tree.root / "on_end",
               {.get =
                    [](const std::string& id) {
                      if (id == "unknown") throw Error(ErrorCode::kNotFound, "no such run");
                      RunRecord run = ended_run(id);
                      if (id == "live") run.status = RunStatus::kRunning;
                      return run;
                    },
                .notify = [&](const std::string& summary, const std::string&) { shown.set_value(summary); }});
  on_end.recover();
  CHECK(shown.get_future().get() == "over: Failed");
  on_end.stop();
  CHECK_FALSE(std::filesystem::exists(tree.root / "on_end/over"));
  CHECK(std::filesystem::exists(tree.root / "on_end/live"));
  CHECK_FALSE(std::filesystem::exists(tree.root / "on_end/unknown"));
}

}  // namespace runner::pipeline
