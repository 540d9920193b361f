// What is asked of a live run: its end, a pause; and what runner-engine has to say.
#include <unistd.h>

#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/shim/container_start.hpp"
#include "runner/shim/supervisor.hpp"

namespace runner::shim {

void Supervisor::on_engine() {
  while (engine_) {
    const auto record = engine_.receive();
    if (!record) return;
    switch (record->event) {
      case EngineEvent::kCreated:
        container_ = record->words.data();
        break;
      case EngineEvent::kPaused:
      case EngineEvent::kUnpaused:
        answer_pause(record->event == EngineEvent::kPaused, "");
        // A pause that overtakes the end must not hold up what the script does with its grace.
        if (facts_.ordered && started_.paused) engine_.send(kUnpause);
        break;
      case EngineEvent::kPauseFailed:
        answer_pause(started_.paused, record->words.data());
        break;
      case EngineEvent::kEnded:
        facts_.engine = *record;
        break;
    }
  }
}

// runner-engine died while its container lives: another one follows it, so that it can still be paused, and the Engine
// asked about its end.
void Supervisor::follow_again() {
  constexpr int kMostRestarts = 10;  // it does not die by itself
  if (container_.empty() || facts_.engine || restarts_ >= kMostRestarts) return;
  ++restarts_;
  if (pause_sent_) answer_pause(started_.paused, "runner-engine died meanwhile");
  Spec follow = spec_;
  follow.runtime_command.push_back(container_);
  try {
    os::Fd theirs;
    engine_.open(theirs);
    runtime_ = start_runtime(run_, follow, theirs.get()).pid;
  } catch (const Error&) {
    engine_.close();  // without: the run itself needs none
  }
}

void Supervisor::on_cancel_request() {
  CancelRequest request{.reason = "cancelled"};
  try {
    if (const auto written = read_cancel(run_)) request = *written;
  } catch (const Error&) {
    // A damaged request is a request all the same.
  }
  const OutcomeKind kind = request.as_failure ? OutcomeKind::kKilled : OutcomeKind::kCanceled;
  order_end({.kind = kind, .reason = request.reason, .gives_way = request.give_way});
}

void Supervisor::on_pause_request() {
  try {
    if (const auto request = read_pause(run_); request && request->number > pause_.number) pause_ = *request;
  } catch (const Error&) {
    return;  // damaged: whoever asked gets no answer and says so
  }
  follow_pause();
}

// One at a time; what was asked last counts.
void Supervisor::follow_pause() {
  if (pause_sent_ || pause_.number <= started_.pause_requests) return;
  if (!facts_.started || facts_.ordered || facts_.end) return answer_pause(started_.paused, "the run is ending");
  if (pause_.paused == started_.paused) return answer_pause(started_.paused, "");
  if (spec_.engine && !engine_) return answer_pause(started_.paused, "the container engine is not followed any more");
  pause_sent_ = pause_.number;
  if (engine_) return engine_.send(pause_.paused ? kPause : kUnpause);
  if (!pause_.paused)
    let_go_on();
  else if (!os::freeze(spec_.cgroups))
    link_.send(kStop);  // no freezer: SIGSTOP reaches everything but cannot be hidden from parents that look
  answer_pause(pause_.paused, "");
}

// Time in which a run is paused does not count.
void Supervisor::answer_pause(bool paused, const std::string& error) {
  if (paused && !started_.paused && started_.deadline) {
    remaining_ = *started_.deadline - os::monotonic_now();
    started_.deadline.reset();
    if (!facts_.ordered) set_timer(std::chrono::nanoseconds::max());
  }
  if (!paused && started_.paused && remaining_) {
    started_.deadline = os::monotonic_now() + *std::exchange(remaining_, std::nullopt);
    if (!facts_.ordered) set_timer(*started_.deadline);
  }
  if (paused && !started_.paused) sampler_.pause();
  if (!paused && started_.paused) sampler_.go_on();
  started_.paused = paused;
  started_.pause_requests = std::exchange(pause_sent_, std::nullopt).value_or(pause_.number);
  started_.pause_error = error;
  if (facts_.started) publish_started();
  follow_pause();  // another one may have been asked for meanwhile
}

// A request written before our signal mask was in place would have no signal to announce it.
bool Supervisor::cancelled_before_start() {
  if (::access(run_.cancel().c_str(), F_OK) != 0) return false;
  on_cancel_request();
  return true;
}

// Frozen or stopped processes take no SIGTERM, and under v1 not even SIGKILL. Somebody else may have paused a
// container.
void Supervisor::let_go_on() {
  if (spec_.engine) return engine_.send(kUnpause);
  os::thaw(spec_.cgroups);
  if (started_.paused) link_.send(kContinue);
}

}  // namespace runner::shim
