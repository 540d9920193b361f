// One run's supervisor: private to this folder. supervise.cpp is its life from the container's start to its end,
// requests.cpp what is asked of it meanwhile.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"
#include "runner/os/cgroup.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/process.hpp"
#include "runner/shim/engine_link.hpp"
#include "runner/shim/exec_server.hpp"
#include "runner/shim/init_link.hpp"
#include "runner/shim/log_copy.hpp"
#include "runner/shim/outcome.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"
#include "runner/shim/usage_sampler.hpp"

namespace runner::shim {

// Threads: one. Everything is an event of one poll(2): signals, init, runner-engine, the deadline, the log, commands.
// One periodic wake-up: a look at what the run uses, once a second while it runs.
class Supervisor {
 public:
  explicit Supervisor(const os::RunDirectory& run) : run_(run), spec_(read_spec(run)), sampler_(run) {}

  bool claim() { return write_claim_once(run_, Claim{.shim = os::identify_self(), .attempt = spec_.attempt}); }
  Outcome run_to_end();
  const Spec& spec() const { return spec_; }
  std::int64_t log_bytes_over_limit() const { return log_bytes_over_limit_; }
  void leave_last_look(const Outcome& outcome) const;
  bool gave_way() const { return facts_.ordered && facts_.ordered->gives_way; }

 private:
  void open_descriptors();
  void take_secrets();
  void start_container();
  bool try_runtime_again();
  void prepare_cgroups();
  void refuse_start(const std::string& why);
  void wait_until_empty(LogCopy& log);
  bool cancelled_before_start();
  void on_cancel_request();
  void on_pause_request();
  void follow_pause();
  void answer_pause(bool paused, const std::string& error);
  void read_init();
  void on_init(const InitLink::Received& received);
  void on_ready(pid_t init);
  void on_started(const InitRecord& record);
  void on_ended(const InitRecord& record);
  void on_engine();
  void follow_again();
  void on_init_death();
  void on_signals();
  void on_timer();
  bool reap();
  bool is_empty();
  void read_usage(const os::RunCgroups& cgroups);
  void end_the_others();
  void order_end(OrderedEnd end);
  void ask_to_end();
  bool ask_for_last_words();
  void await_stacks(std::chrono::nanoseconds most);
  bool stacks_awaited();
  void let_go_on();
  void kill_everything();
  void kill_children();
  void set_timer(std::chrono::nanoseconds at);
  void publish_started();

  const os::RunDirectory& run_;
  Spec spec_;
  os::Fd signals_;
  os::Fd timer_;
  InitLink link_;
  EngineLink engine_;
  std::optional<ExecServer> execs_;
  os::Fd secrets_;
  os::Fd init_;  // pidfd of the container's pid 1
  os::ProcessIdentity init_identity_;
  bool init_dead_ = false;                   // known in an Engine's container only, where init is no child of ours
  bool gave_engine_up_ = false;              // its word of the end did not come in time
  pid_t script_ = 0;                         // in its own pid namespace
  bool stacks_possible_ = false;             // at the end of the grace
  bool stacks_first_ = false;                // SIGTERM has still to follow
  std::vector<os::Fd> printing_;             // pidfds of the Pythons that show their stacks
  std::chrono::nanoseconds printing_end_{};  // they have so long
  std::chrono::nanoseconds grace_end_{};
  UsageSampler sampler_;
  os::RunCgroups engine_cgroups_;       // the Engine made them; only read
  pid_t runtime_ = 0;                   // 0 once it is reaped
  bool move_init_ = false;              // into the run's cgroups, before kGo
  std::int64_t machine_oom_kills_ = 0;  // at the start
  Started started_;
  PauseRequest pause_{};                               // the latest
  std::optional<std::uint64_t> pause_sent_;            // number of the one that runner-engine is at
  std::string container_;                              // its id at the Engine, once it is created
  int restarts_ = 0;                                   // of the runtime, or of runner-engine
  std::optional<std::chrono::nanoseconds> remaining_;  // of the time limit, while paused
  EndFacts facts_;
  std::int64_t log_bytes_over_limit_ = 0;
};

}  // namespace runner::shim
