#include "runner/pipeline/pipeline.hpp"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/records.hpp"

namespace runner::pipeline {
namespace {

const os::DataDirectory& with_directories(const os::DataDirectory& data) {
  for (const auto& directory : {data.runs(), data.checkouts(), data.roots(), data.cache()})
    os::make_directories(directory);
  return data;
}

}  // namespace

Pipeline::Pipeline(const os::DataDirectory& data, const Configuration& configuration)
    : data_(with_directories(data)),
      configuration_(configuration),
      content_(data.content_database()),
      history_(data.history_database()),
      probe_(data.cache()),
      sandbox_(data, os::program_directory() / "runner-shim", os::program_directory() / "runner-init",
               os::python_package_directory()) {
  watch_ = std::make_unique<RunWatch>(RunObserver{
      .started = [this](const std::string& id) { mark_started(id); },
      .log_grew = [this](const std::string& id) { events_.notify(id); },
      .journal_grew = [this](const std::string& id) { ingest_metrics(id, false); },
      .ended =
          [this](const std::string& id) {
            scheduler_->release(id);
            scheduler_->post([this, id] { finish(id); });
          },
  });
  scheduler_ = std::make_unique<Scheduler>(configuration_.parallel, [this](const std::string& id) { start(id); });
  recover();
}

Pipeline::~Pipeline() {
  watch_->stop();      // from here on nothing is posted to the workers
  scheduler_.reset();  // joins them; they use the watch
}

RunRecord Pipeline::cancel(const std::string& id, const std::string& reason) {
  if (!history_.request_cancel(id, reason)) {
    const RunRecord run = history_.get(id);
    throw Error(ErrorCode::kConflict, "cancel " + id + ": it has ended already: " + std::string(to_string(run.status)));
  }
  if (scheduler_->withdraw(id)) {
    end(history_.get(id), Outcome{.kind = OutcomeKind::kCanceled, .message = reason}, std::nullopt, {});
  } else {
    // Being started or alive. The shim looks for this file when it starts and whenever it is signalled; a worker that
    // has not launched it yet is refused the step to Starting.
    const os::RunDirectory directory = data_.run(id);
    try {
      shim::write_cancel(directory, shim::CancelRequest{.reason = reason});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;  // no run directory yet, or none any more
    }
    watch_->signal_shim(id, SIGUSR1);
  }
  events_.notify(id);
  return history_.get(id);
}

void Pipeline::cancel_all(const std::string& reason, std::chrono::milliseconds limit) {
  const auto deadline = os::monotonic_now() + limit;
  for (const RunRecord& run : history_.unfinished()) {
    try {
      cancel(run.id, reason);
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
