#include "runner/pipeline/on_end.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <map>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kMostNotifications = 3;  // at once; more become one that counts them
constexpr std::size_t kLongestText = 4096;     // bytes of one variable or notification

std::string harmless(std::string text) {
  if (text.size() > kLongestText) {
    std::size_t end = kLongestText;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // whole code points
    text.resize(end);
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return text;
}

std::string title_of(const RunRecord& run) {
  return (run.name.empty() ? run.id : run.name) + ": " + std::string(to_string(run.status));
}

int end_status(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> on_end_variables(const RunRecord& run) {
  std::vector<std::pair<std::string, std::string>> variables{{"RUNNER_RUN_ID", run.id},
                                                             {"RUNNER_NAME", run.name},
                                                             {"RUNNER_EXPERIMENT", run.experiment},
                                                             {"RUNNER_STATUS", std::string(to_string(run.status))},
                                                             {"RUNNER_REASON", run.status_reason},
                                                             {"RUNNER_OUTCOME", ""},
                                                             {"RUNNER_EXIT_CODE", ""}};
  if (run.outcome) {
    variables[5].second = to_string(run.outcome->kind);
    variables[6].second = std::to_string(exit_code_of(*run.outcome));
  }
  for (auto& [name, value] : variables) value = harmless(std::move(value));
  return variables;
}

OnEnd::OnEnd(OnEndRule rule, std::filesystem::path directory, Callbacks callbacks)
    : rule_(std::move(rule)), directory_(std::move(directory)), callbacks_(std::move(callbacks)) {}

OnEnd::~OnEnd() { stop(); }

void OnEnd::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void OnEnd::expect(const std::string& id) {
  if (!rule_.any()) return;
  try {
    os::make_directories(directory_);
    os::publish_file(directory_ / id, "", os::Durability::kAtomic);
  } catch (const Error& error) {
    spdlog::warn("run {}: its on_end would not be made up for after a crash: {}", id, error.message());
  }
}

void OnEnd::ended(const std::string& id) {
  if (!rule_.any()) return;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    waiting_.push_back(id);
    if (!thread_.joinable()) {
      thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
      ::pthread_setname_np(thread_.native_handle(), "on-end");
    }
  }
  wake_.notify_one();
}

void OnEnd::recover() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::string id = entry.path().filename();
    try {
      // One that has not ended after all is expected again when it does.
      if (!rule_.any() || id.starts_with(".tmp-"))
        forget(id);
      else if (is_final(callbacks_.get(id).status))
        ended(id);
    } catch (const Error&) {
      forget(id);  // no run of this history
    }
  }
}

void OnEnd::forget(const std::string& id) const { ::unlink((directory_ / id).c_str()); }

void OnEnd::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
    if (stop.stop_requested()) return;
    std::vector<std::string> ids{waiting_.front()};
    if (rule_.notify) ids.assign(waiting_.begin(), waiting_.end());
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(ids.size()));
    lock.unlock();
    std::vector<RunRecord> runs;
    for (const std::string& id : ids) {
      try {
        runs.push_back(callbacks_.get(id));
      } catch (const Error& error) {
        spdlog::warn("run {}: no on_end: {}", id, error.message());
        forget(id);
      }
    }
    if (rule_.notify)
      show(runs);
    else
      for (const RunRecord& run : runs) run_command(run, stop);
    lock.lock();
  }
}

void OnEnd::show(const std::vector<RunRecord>& runs) {
  try {
    if (runs.size() > kMostNotifications) {
      std::map<std::string_view, int> counts;
      for (const RunRecord& run : runs) ++counts[to_string(run.status)];
      std::string text;
      for (const auto& [status, count] : counts)
        text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(status);
      callbacks_.notify(std::to_string(runs.size()) + " runs have ended", text);
    } else {
      for (const RunRecord& run : runs)
        callbacks_.notify(harmless(title_of(run)),
                          harmless(run.experiment + (run.status_reason.empty() ? "" : ": " + run.status_reason)));
    }
  } catch (const Error& error) {
    spdlog::warn("on_end = \"notify\": {}", error.message());
  }
  for (const RunRecord& run : runs) forget(run.id);
}

// What it prints goes where the daemon's own words go.
void OnEnd::run_command(const RunRecord& run, const std::stop_token& stop) {
  os::SpawnRequest request{.arguments = rule_.command, .new_session = true};
  std::map<std::string, std::string> variables;
  for (char** at = ::environ; *at != nullptr; ++at) {
    const std::string_view text(*at);
    if (const auto equals = text.find('='); equals != std::string_view::npos)
      variables[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : on_end_variables(run)) variables[name] = value;
  for (const auto& [name, value] : variables) request.environment.push_back(name + "=" + value);
  if (const auto home = variables.find("HOME"); home != variables.end() && ::access(home->second.c_str(), X_OK) == 0)
    request.directory = home->second;
  request.descriptors = {{STDERR_FILENO, STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
  try {
    if (!request.arguments[0].starts_with('/')) {
      const auto program = os::find_program(request.arguments[0], variables["PATH"]);
      if (!program) throw Error(ErrorCode::kNotFound, request.arguments[0] + ": no such program on the daemon's PATH");
      request.arguments[0] = *program;
    }
    const os::Child child = os::spawn(request);
    forget(run.id);
    const os::Fd stopping(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const std::stop_callback wake(stop, [&stopping] {
      constexpr std::uint64_t kOne = 1;
      [[maybe_unused]] const ssize_t wrote = ::write(stopping.get(), &kOne, sizeof kOne);
    });
    const auto deadline = os::monotonic_now() + rule_.limit;
    for (;;) {
      std::array<pollfd, 2> polled{pollfd{child.pidfd.get(), POLLIN, 0}, pollfd{stopping.get(), POLLIN, 0}};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - os::monotonic_now()).count();
      if (left <= 0) {
        ::kill(-child.pid, SIGKILL);
        end_status(child.pid);
        throw Error(ErrorCode::kUnavailable, "killed after " + format_duration(rule_.limit) + " (on_end_limit)");
      }
      if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0) continue;
      if (polled[0].revents != 0) break;
      if (polled[1].revents != 0) return;  // it goes on without us
    }
    const int status = end_status(child.pid);
    if (status != 0)
      throw Error(ErrorCode::kUnavailable, WIFSIGNALED(status) ? "died of signal " + std::to_string(WTERMSIG(status))
                                                               : "exited with " + std::to_string(WEXITSTATUS(status)));
  } catch (const Error& error) {
    spdlog::warn("run {}: on_end: {}", run.id, error.message());
    forget(run.id);
  }
}

}  // namespace runner::pipeline
