#include "runner/exec/sandbox.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "runner/core/error.hpp"
#include "runner/exec/bundle.hpp"
#include "runner/exec/checks.hpp"
#include "runner/exec/runtime_trial.hpp"
#include "runner/os/cgroup.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/container_start.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

// Threads: the callers', and one jthread "sandbox" that tries the runtimes and then waits to warm things up. `trial_`
// is written by it once, under the mutex, and constant from then on.
class Sandbox::Impl {
 public:
  Impl(os::DataDirectory data, std::filesystem::path shim, std::filesystem::path init,
       std::filesystem::path python_package)
      : host_(describe_host(std::move(data), std::move(init), std::move(python_package))),
        shim_(std::move(shim)),
        choice_(variable("RUNNER_OCI_RUNTIME")),
        search_path_(variable("PATH")) {
    thread_ = std::jthread([this](std::stop_token stop) {
      ::pthread_setname_np(::pthread_self(), "sandbox");
      find_runtime(stop);
      warm_on_demand(stop);
    });
  }

  const TrialResult& trial() const {
    std::unique_lock lock(mutex_);
    found_.wait(lock, [this] { return trial_.has_value(); });
    return *trial_;
  }

  const Runtime& need_runtime() const {
    const TrialResult& result = trial();
    if (result.runtime) return *result.runtime;
    std::string why;
    for (const Check& check : result.checks) why += (why.empty() ? "" : "; ") + check.name + ": " + check.detail;
    throw Error(
        ErrorCode::kUnavailable, "the sandbox needs an OCI runtime that works here: " + why,
        "apt install crun, then `runner daemon stop` (the next command starts it anew); `runner doctor` tells more");
  }

  const BundleHost& host() const { return host_; }
  const std::filesystem::path& shim() const { return shim_; }

  TrialResult try_again() const { return try_runtimes(host_, shim_, choice_, search_path_, true, {}); }

  void expect_run() {
    const std::lock_guard lock(mutex_);
    expected_ = true;
    wanted_.notify_one();
  }

 private:
  void warm_on_demand(std::stop_token stop) {
    const std::filesystem::path file = os::warm_file(os::find_cgroup_base());
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (!wanted_.wait(lock, stop, [this] { return expected_; })) return;
        expected_ = false;
      }
      os::warm_cgroups(file);
    }
  }

  void find_runtime(std::stop_token stop) {
    TrialResult result;
    try {
      result = try_runtimes(host_, shim_, choice_, search_path_, false, stop);
    } catch (const std::exception& error) {
      result.checks.push_back(
          {.name = "oci runtime", .works = false, .detail = error.what(), .remedy = "see the message"});
    }
    const std::lock_guard lock(mutex_);
    trial_ = std::move(result);
    found_.notify_all();
  }

  const BundleHost host_;
  const std::filesystem::path shim_;
  const std::string choice_;
  const std::string search_path_;
  mutable std::mutex mutex_;
  mutable std::condition_variable found_;
  std::optional<TrialResult> trial_;
  std::condition_variable_any wanted_;
  bool expected_ = false;
  std::jthread thread_;  // last: it uses all of the above
};

Sandbox::Sandbox(os::DataDirectory data, std::filesystem::path shim, std::filesystem::path init,
                 std::filesystem::path python_package)
    : impl_(std::make_unique<Impl>(std::move(data), std::move(shim), std::move(init), std::move(python_package))) {}

Sandbox::~Sandbox() = default;

const std::optional<Runtime>& Sandbox::runtime() const { return impl_->trial().runtime; }

std::vector<Check> Sandbox::checks() const {
  impl_->trial();  // not two at a time
  std::vector<Check> checks = impl_->try_again().checks;
  for (Check& check : machine_checks(impl_->host(), os::find_cgroup_base())) checks.push_back(std::move(check));
  return checks;
}

std::vector<UnenforcedLimit> Sandbox::unenforceable(const RunDefinition& definition) const {
  const os::CgroupBase base = os::find_cgroup_base();
  std::vector<UnenforcedLimit> limits;
  const auto need = [&](bool asked, const char* option, const char* controller) {
    if (!asked) return;
    if (const auto problem = limit_problem(base, controller))
      limits.push_back({option, "cannot be enforced here: " + problem->reason, problem->hint});
  };
  need(definition.memory_bytes.has_value(), "--memory", "memory");
  need(definition.pids.has_value(), "--pids", "pids");
  need(definition.cpus.has_value(), "--cpus", "cpu");
  return limits;
}

void Sandbox::refuse_impossible_mounts(const SandboxRun& run) const {
  plan_for(run, impl_->need_runtime(), impl_->host());
}

void Sandbox::expect_run() const { impl_->expect_run(); }

void Sandbox::prepare(const SandboxRun& run) const {
  write_bundle(run, impl_->need_runtime(), impl_->host(), os::find_cgroup_base());
}

os::Child Sandbox::launch(const os::RunDirectory& directory, int secrets) const {
  return launch_shim(impl_->shim(), directory, secrets);
}

void Sandbox::remove_remains(const std::string& id) const {
  constexpr std::chrono::milliseconds kDeath{2000};  // of a killed process on a busy machine
  const os::RunDirectory directory = impl_->host().data.run(id);
  os::RunCgroups cgroups = os::plan_run_cgroups(os::find_cgroup_base(), cgroup_name(id));
  bool ended = true;
  try {
    // pid 1 ends with its shim by itself; this is for a machine so busy that it has not been scheduled yet.
    if (const auto started = shim::read_started(directory))
      if (const auto init = os::open_process(started->init)) {
        os::thaw(cgroups);
        os::signal_process(*init, SIGKILL);
        // An Engine's is no child of ours: nobody else waits for it.
        pollfd dead{init->get(), POLLIN, 0};
        ::poll(&dead, 1, static_cast<int>(kDeath.count()));
      }
    if (os::read_file_if_exists(directory.spec())) {
      const shim::Spec spec = shim::read_spec(directory);
      // The daemon that started it may have had another cgroup than this one.
      os::remove_run_cgroups(spec.cgroups);
      if (!spec.engine && !shim::read_ended(directory)) ended = shim::await_runtime_end(directory, kDeath);
    }
  } catch (const Error&) {
    // A damaged record hides nothing that the plan below would not find again for the same daemon.
  }
  if (!os::remove_run_cgroups(cgroups) || !ended)
    throw Error(ErrorCode::kInternal, "run " + id + ": processes of a dead container do not end", "see `dmesg`");
}

}  // namespace runner::exec
