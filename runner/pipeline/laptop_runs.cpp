// Overnight on a laptop: what live runs keep from sleeping, and what the machine keeps from running.
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {
namespace {

constexpr const char* kWhyAwake = "runs are live";

}  // namespace

void Pipeline::start_laptop() {
  keep_awake_ = std::make_unique<KeepAwake>([this] { return bus_.inhibit("idle", kWhyAwake); });
  on_end_ = std::make_unique<OnEnd>(
      configuration_.on_end, data_.ended_runs(),
      OnEnd::Callbacks{
          .get = [this](const std::string& id) { return history_.get(id); },
          .notify = [this](const std::string& summary, const std::string& body) { bus_.notify(summary, body); }});
}

void Pipeline::watch_laptop() {
  if (configuration_.laptop.any())
    laptop_ = std::make_unique<LaptopWatch>(
        configuration_.laptop, LaptopWatch::Callbacks{.look = [this] { return look_at_machine(); },
                                                      .act = [this](const LaptopVerdict& verdict) { obey(verdict); }});
  else
    scheduler_->post([this] { obey({}); });  // what a daemon with another configuration has frozen goes on
}

void Pipeline::stop_laptop() {
  bus_.interrupt();
  if (laptop_) laptop_->stop();
}

void Pipeline::stay_awake(const std::string& id) {
  if (configuration_.keep_awake) keep_awake_->enter(id);
}

LaptopSigns Pipeline::look_at_machine() {
  const LaptopRules& rules = configuration_.laptop;
  LaptopSigns signs;
  if (rules.on_battery != LaptopAction::kRun) signs.on_battery = machine_signs_.on_battery();
  if (rules.hot != LaptopAction::kRun) signs.hot = machine_signs_.hot();
  if (rules.busy != LaptopAction::kRun) {
    try {
      signs.busy = !bus_.user_is_idle(::getuid());
    } catch (const Error& error) {
      // Said once: nobody is taken to be there.
      if (!std::exchange(told_of_no_logind_, true)) spdlog::warn("[laptop] busy: {}", error.message());
    }
  }
  return signs;
}

// The watch's thread, or a worker. What could not be done now is tried at the next look.
void Pipeline::obey(const LaptopVerdict& verdict) {
  scheduler_->hold_for(verdict.action == LaptopAction::kRun ? "" : verdict.reason);
  if (verdict != last_verdict_.with([](const LaptopVerdict& last) { return last; })) {
    spdlog::info(
        "[laptop] {}",
        verdict.reason.empty()
            ? "nothing is in the way of runs any more"
            : (verdict.action == LaptopAction::kFreeze ? "runs are frozen: " : "the queue is held: ") + verdict.reason);
    last_verdict_.with([&](LaptopVerdict& last) { last = verdict; });
  }
  const bool freeze = verdict.action == LaptopAction::kFreeze;
  if (!freeze) let_be_.with([](auto& runs) { runs.clear(); });
  for (const std::string& id : scheduler_->running()) {
    try {
      const RunStatus status = history_.get(id).status;
      const auto frozen = frozen_for(id);
      const bool let_be = let_be_.with([&](const auto& runs) { return runs.contains(id); });
      if (freeze && status == RunStatus::kRunning && !let_be) ask_for_pause(id, true, verdict.reason);
      if (freeze && status == RunStatus::kPaused && frozen && *frozen != verdict.reason)
        ask_for_pause(id, true, verdict.reason);
      if (!freeze && status == RunStatus::kPaused && frozen) ask_for_pause(id, false, "");
    } catch (const Error& error) {
      spdlog::warn("run {}: [laptop] {}", id, error.message());
    }
  }
}

// Why the machine has paused the run; nothing if it has not, or somebody has asked for something since.
std::optional<std::string> Pipeline::frozen_for(const std::string& id) const {
  const auto request = shim::read_pause(data_.run(id));
  if (!request || !request->paused || request->reason.empty()) return std::nullopt;
  return request->reason;
}

// The shim answers in start.json. Its number.
std::uint64_t Pipeline::ask_for_pause(const std::string& id, bool paused, const std::string& reason) {
  const os::RunDirectory directory = data_.run(id);
  return pauses_.with([&](int& pauses) {  // each counts on from the last
    ++pauses;
    const auto before = shim::read_pause(directory);
    // What the user has asked for stays, also while it is not yet answered.
    if (before && before->paused && before->reason.empty() && !reason.empty()) return before->number;
    const shim::PauseRequest request{
        .paused = paused, .number = before ? before->number + 1 : 1, .reason = paused ? reason : std::string()};
    shim::write_pause(directory, request);
    watch_->signal_shim(id, SIGUSR2);
    return request.number;
  });
}

std::vector<exec::Check> Pipeline::laptop_checks() {
  exec::Check awake{.name = "keep awake", .works = true, .detail = "switched off (keep_awake = false)", .remedy = {}};
  if (configuration_.keep_awake) {
    try {
      bus_.inhibit("idle", "trying");
      awake.detail =
          "while runs are live systemd-logind keeps the machine from idle sleep; suspending it yourself works";
    } catch (const Error& error) {
      awake.works = false;
      awake.detail = "the machine may fall asleep while runs are live: " + error.message();
      awake.remedy = error.hint().empty() ? "systemd-logind and the system's D-Bus do it where they run; switch idle "
                                            "sleep off otherwise (keep_awake = false if it does not matter)"
                                          : error.hint();
    }
  }
  exec::Check logout{.name = "logout", .works = true, .detail = {}, .remedy = {}};
  if (!machine_signs_.has_systemd()) {
    logout.detail = "runs go on after logout: there is no systemd here to end them";
  } else if (machine_signs_.lingers(account_.user)) {
    logout.detail = "runs go on after logout: lingering is on";
  } else {
    bool killed = machine_signs_.is_user_service();
    std::string why = "the daemon is a service of your session manager, which ends with your last session";
    if (!killed) try {
        killed = bus_.kills_user_processes();
        why = "systemd-logind ends your processes with your last session (KillUserProcesses=yes)";
      } catch (const Error&) {
        // It is not asked what it does not answer: its default is no.
      }
    logout.works = !killed;
    logout.detail = killed ? "runs end at logout: " + why : "runs go on after logout: nothing here ends them";
    if (killed) logout.remedy = "loginctl enable-linger " + account_.user;
  }
  return {awake, logout};
}

}  // namespace runner::pipeline
