#include "runner/pipeline/pipeline.hpp"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "git/git_state.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/unix_socket.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {
namespace {

const os::DataDirectory& with_directories(const os::DataDirectory& data) {
  for (const auto& directory : {data.runs(), data.checkouts(), data.roots(), data.cache(), data.environments()})
    os::make_directories(directory);
  os::make_directories(data.api());
  if (::chmod(data.api().c_str(), 0711) != 0) throw errno_error(errno, "chmod " + data.api().string());
  return data;
}

GpuSlots shared_gpus(const Configuration& configuration, const exec::GpuInventory& inventory) {
  std::vector<std::string> ids;
  for (const exec::Gpu& gpu : inventory.gpus) ids.push_back(gpu.id);
  return GpuSlots(configuration.gpus ? *configuration.gpus : ids, configuration.runs_per_gpu);
}

}  // namespace

Pipeline::Pipeline(const os::DataDirectory& data, const Configuration& configuration)
    : data_(with_directories(data)),
      configuration_(configuration),
      tokens_(open_run_tokens(data.api_key())),
      machine_(shared_resources(configuration)),
      gpus_(exec::find_gpus({.cdi_directories = configuration.cdi_directories})),
      gpu_slots_(shared_gpus(configuration, gpus_)),
      content_(data.content_database()),
      checkouts_(content_, data.checkouts(),
                 {.bytes = configuration.checkout_bytes,
                  .count = static_cast<std::size_t>(configuration.checkout_count),
                  .layers = exec::layers_that_fit(data)}),
      history_(data.history_database()),
      probe_(data.cache()),
      sandbox_(data, os::program_directory() / "runner-shim", os::program_directory() / "runner-init",
               os::python_package_directory()),
      containers_(exec::describe_host(data, os::program_directory() / "runner-init", os::python_package_directory()),
                  os::program_directory() / "runner-shim", os::program_directory() / "runner-engine") {
  git::start();
  start_laptop();
  intake_ = std::make_unique<Preparer>([this](const std::string& id, const std::stop_token&) { take_in_files(id); },
                                       "run-intake");
  watch_ = std::make_unique<RunWatch>(RunObserver{
      .started = [this](const std::string& id) { mark_started(id); },
      .log_grew = [this](const std::string& id) { events_.notify(id); },
      .journal_grew = [this](const std::string& id) { journal_grew(id); },
      .ended =
          [this](const std::string& id) {
            scheduler_->release(id);
            scheduler_->post([this, id] { finish(id); });
          },
  });
  prepared_ = std::make_unique<PreparedEnvironments>(
      data_, environments_, probe_, containers_,
      PreparedEnvironments::Limits{.build = configuration_.build_limit, .conda_client = configuration_.conda});
  builds_ = std::make_unique<EnvironmentBuilds>(EnvironmentBuilds::Callbacks{
      .build =
          [this](const BuildJob& job, BuildControl& control) {
            const Awake awake(configuration_.keep_awake ? keep_awake_.get() : nullptr, "a build");
            return prepared_->build(job, control);
          },
      .progress =
          [this](const std::string& id, const std::string& line) {
            try {
              history_.set_status(id, RunStatus::kPreparing, line);
              events_.notify(id);
            } catch (const Error& error) {
              spdlog::warn("run {}: '{}' is not shown: {}", id, line, error.message());
            }
          },
      .ended = [this](const BuildEnd& end) { environment_ended(end); },
      .afterwards = [this](const BuildJob& job, const store::EnvironmentBuild& build,
                           BuildControl& control) { prepared_->stock(job, build, control); },
  });
  clearer_ = std::make_unique<Clearer>([this](const std::string& id) { return clear(id); });
  remover_ = std::make_unique<Clearer>([this](const std::string& id) { return clear(id); }, "run-remove");
  preparer_ =
      std::make_unique<Preparer>([this](const std::string& id, const std::stop_token& stop) { fetch_image(id, stop); });
  ahead_ = std::make_unique<Preparer>([this](const std::string& id, const std::stop_token&) { check_out_ahead(id); },
                                      "run-checkout");
  again_ = std::make_unique<Clearer>([this](const std::string& id) { return clear_for_next_attempt(id); }, "run-again",
                                     std::chrono::milliseconds(250));
  scheduler_ = std::make_unique<Scheduler>(
      machine_, gpu_slots_, history_.queue_held(),
      Scheduler::Callbacks{
          .start = [this](const std::string& id) { start(id); },
          .give_way = [this](const std::string& id, const std::string& to) { return give_way(id, to); },
      });
  on_end_->recover();  // first: what the next ends comes to it by itself
  recover();
  watch_laptop();
}

Pipeline::~Pipeline() {
  constexpr std::chrono::seconds kPatience{3};
  begin_stop();  // a worker may be at a terabyte of outputs
  stop_laptop();
  containers_.stop_waiting(kPatience);  // for an engine that hangs; one that is well has nearly done by then
  watch_->stop();                       // from here on nothing is posted to the workers
  intake_->stop();                      // what is not taken in the next daemon takes
  preparer_->stop();                    // it queues runs, and is given some by the workers
  builds_->stop();                      // so do they
  ahead_->stop();
  again_->stop();      // what it is given after this the next daemon finds
  scheduler_->stop();  // its workers use it, and the watch, to the last
  clearer_->stop();    // removes what they have just ended
  remover_->stop();
  on_end_->stop();
  keep_awake_->stop();
}

RunRecord Pipeline::cancel(const std::string& id, const store::History::Cancellation& cancellation) {
  const std::vector<std::string> asked = history_.request_cancel(id, cancellation);
  if (asked.empty()) {
    const RunRecord run = history_.get(id);
    throw Error(ErrorCode::kConflict, std::string(cancellation.fails ? "fail " : "cancel ") + id +
                                          ": it has ended already: " + std::string(to_string(run.status)));
  }
  // A crash from here on leaves the rows, by which the next daemon goes.
  std::optional<Error> trouble;
  for (const std::string& run : asked) {
    try {
      stop(run, history_.get(run).status_reason, run == id && cancellation.fails);
    } catch (const Error& error) {  // the others are stopped all the same
      trouble = error.within("stop " + run);
    }
  }
  if (trouble) throw Error(*trouble);
  return history_.get(id);
}

// Carries out what the row says already.
void Pipeline::stop(const std::string& id, const std::string& reason, bool fails) {
  if (const RunRecord run = history_.get(id); run.kind != RunKind::kScript) return end_asked(run);
  if (scheduler_->withdraw(id) || preparer_->withdraw(id) || builds_->withdraw(id)) {
    end_cancelled(history_.get(id));
  } else {
    // Being started or alive. The shim looks for this file when it starts and whenever it is signalled; a worker that
    // has not launched it yet is refused the step to Starting.
    const os::RunDirectory directory = data_.run(id);
    try {
      // Of an earlier attempt's directory nothing is wanted any more: who clears it away looks at the row.
      const auto claim = claim_of(id);
      if (claim && claim->attempt < history_.get(id).attempt)
        again_->enqueue(id);
      else
        shim::write_cancel(directory, shim::CancelRequest{.reason = reason, .as_failure = fails});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;  // no run directory yet, or none any more
    }
    watch_->signal_shim(id, SIGUSR1);
  }
  events_.notify(id);
}

// It was asked to stop before anything of it lived.
void Pipeline::end_cancelled(const RunRecord& run) {
  const Outcome outcome = outcome_of_cancelled(run);
  end(run, outcome, error_of(outcome), {});
}

Outcome Pipeline::outcome_of_cancelled(const RunRecord& run) const {
  return {.kind = history_.cancel_fails(run.id) ? OutcomeKind::kKilled : OutcomeKind::kCanceled,
          .message = run.status_reason};
}

RunRecord Pipeline::pause(const std::string& id, bool paused) {
  constexpr std::chrono::seconds kAnswer{15};  // an Engine that hangs is given up by runner-engine after 10 s
  const char* const word = paused ? "pause " : "resume ";
  const RunRecord run = history_.get(id);
  refuse_without_script(run, word);
  // One that the machine has frozen may be paused: then it stays so when the machine would let it go on.
  const bool frozen = run.status == RunStatus::kPaused && frozen_for(id);
  if (run.status != (paused ? RunStatus::kRunning : RunStatus::kPaused) && !(paused && frozen))
    throw Error(ErrorCode::kConflict, word + id + ": it is " + std::string(to_string(run.status)),
                paused ? "only a running run can be paused" : "only a paused run can be resumed");
  const os::RunDirectory directory = data_.run(id);
  const auto subscription = events_.subscribe(id);
  if (!paused && frozen) let_be_.with([&](auto& runs) { runs.insert(id); });
  const std::uint64_t number = ask_for_pause(id, paused, "");
  const auto deadline = os::monotonic_now() + kAnswer;
  for (;;) {
    subscription.clear();
    const RunRecord now = history_.get(id);
    if (is_final(now.status) || now.status == RunStatus::kFinalizing)
      throw Error(ErrorCode::kConflict, word + id + ": it has ended meanwhile");
    const auto answer = shim::read_started(directory);
    if (answer && answer->pause_requests >= number) {
      if (!answer->pause_error.empty())
        throw Error(ErrorCode::kUnavailable, word + id + ": " + answer->pause_error,
                    "`runner run show` tells its state");
      mark_started(id);
      return history_.get(id);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - os::monotonic_now());
    if (left.count() <= 0)
      throw Error(ErrorCode::kUnavailable, word + id + ": no answer from its supervisor", "see `runner daemon logs`");
    pollfd waiting{subscription.fd(), POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(left.count()));
  }
}

os::Fd Pipeline::connect_for_exec(const std::string& id) {
  const RunRecord run = history_.get(id);
  refuse_without_script(run, "exec ");
  if (run.status != RunStatus::kRunning)
    throw Error(ErrorCode::kConflict, "exec " + id + ": it is " + std::string(to_string(run.status)),
                run.status == RunStatus::kPaused ? "runner run resume it first" : "only a running run can be entered");
  return os::connect_to(data_.run(id).control());
}

exec::Check Pipeline::database_check() const {
  exec::Check check{.name = "databases", .works = true, .detail = "runner.db and content.db are written", .remedy = {}};
  for (const auto& damage : {content_.damage(), history_.damage()})
    if (damage) check = {.name = check.name, .works = false, .detail = damage->message(), .remedy = damage->hint()};
  return check;
}

// A run that was cancelled while it was in no queue, between being prepared and being queued again.
void Pipeline::withdraw_cancelled(const std::string& id) {
  const RunRecord run = history_.get(id);
  if (run.status != RunStatus::kCancelRequested) return;
  if (scheduler_->withdraw(id) || preparer_->withdraw(id) || builds_->withdraw(id)) end_cancelled(run);
}

void Pipeline::cancel_all(const std::string& reason, std::chrono::milliseconds limit) {
  const auto deadline = os::monotonic_now() + limit;
  for (const RunRecord& run : history_.unfinished()) {
    try {
      cancel(run.id, {.reason = reason});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kConflict) throw;  // it ended by itself meanwhile
    }
  }
  for (;;) {
    const auto left = history_.unfinished();
    if (left.empty() || os::monotonic_now() >= deadline) return;
    const auto subscription = events_.subscribe(left.front().id);
    subscription.clear();
    if (is_final(history_.get(left.front().id).status)) continue;
    pollfd waiting{subscription.fd(), POLLIN, 0};
    const auto pause = std::chrono::ceil<std::chrono::milliseconds>(deadline - os::monotonic_now());
    ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(0, pause.count())));
  }
}

}  // namespace runner::pipeline
