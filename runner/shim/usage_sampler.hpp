// Looks at a live run once a second: what it uses, and which processes it has. One thread, the supervisor's; never
// throws once it is open. A look opens at most some hundred files, however many processes there are.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "runner/os/cgroup.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/process_tree.hpp"
#include "runner/shim/last_look.hpp"
#include "runner/shim/usage.hpp"

namespace runner::shim {

class UsageSampler {
 public:
  explicit UsageSampler(const os::RunDirectory& run) : file_(run.usage()) {}
  void open();  // first of all; Error without a timer

  int fd() const { return timer_.get(); }  // readable: call on_timer(); -1 before open()
  void on_timer();

  // The script runs. `init` is the container's pid 1, 0 if it cannot be seen from here: then there is nothing to look
  // at but the cgroups.
  void start(pid_t init, const os::RunCgroups& cgroups);
  void pause();
  void go_on();
  void stop();  // the script has ended, init and the cgroups are still there; once

  // The processes now, for the last look; what is sampled later does not replace it.
  void look_before_signal(const os::ProcessTree& tree);
  LastLook last_look() const;

  ResourceUsage usage() const { return totals_.usage(); }
  double running_seconds() const;  // pauses left out

 private:
  struct Reading {
    std::chrono::nanoseconds at{};
    double cpu_seconds = 0;
    std::int64_t memory_bytes = 0;
    std::optional<std::int64_t> read_bytes, written_bytes;
    std::int64_t processes = 0;
  };
  std::optional<Reading> read(const os::ProcessTree& tree);
  void set_timer(bool on);
  void look_at(const os::ProcessTree& tree);
  void name_processes(const std::vector<os::ProcessFacts>& processes);
  pid_t inner_pid(pid_t pid) const;

  using Key = std::pair<pid_t, std::uint64_t>;  // a pid and its start
  struct Name {
    pid_t inner_pid = 0;
    std::string command;
    std::string called{};  // itself, then: another name means another program
  };

  os::Fd timer_;
  pid_t init_ = 0;
  os::RunCgroups cgroups_;
  bool started_ = false;
  bool looked_before_signal_ = false;
  std::optional<std::chrono::nanoseconds> running_since_;  // none: paused, or ended
  std::chrono::nanoseconds ran_before_{};
  Reading last_;
  UsageTotals totals_;
  UsageFile file_;
  std::deque<UsageSample> minute_;
  LastLook look_;
  std::map<Key, Name> names_;
};

}  // namespace runner::shim
