// Every path in the data directory is made here (docs/data-directory.md describes it for people).
#pragma once

#include <filesystem>
#include <string>

#include "runner/core/content.hpp"

namespace runner::os {

// runs/<run id>/: exists from before the run's start until its outputs are collected.
class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path spec() const {
    return root_ / "spec.json";
  }  // daemon → shim: how to start (runner/shim/spec.hpp)
  std::filesystem::path claim() const { return root_ / "claim.json"; }    // shim: I start it; made once (link)
  std::filesystem::path started() const { return root_ / "start.json"; }  // shim: the script runs
  std::filesystem::path ended() const { return root_ / "exit.json"; }     // shim: how it ended; the container is empty
  std::filesystem::path ended_reserve() const { return root_ / "exit.reserve"; }  // becomes exit.json
  std::filesystem::path usage() const { return root_ / "usage.jsonl"; }           // shim: a line a second
  std::filesystem::path last_look() const { return root_ / "last_look.json"; }    // shim: for the post-mortem
  std::filesystem::path cancel() const { return root_ / "cancel.json"; }  // daemon → shim: stop it (then SIGUSR1)
  std::filesystem::path pause() const { return root_ / "pause.json"; }  // daemon → shim: pause it or go on (SIGUSR2)
  std::filesystem::path control() const { return root_ / "control"; }   // socket of the shim: `run exec`
  std::filesystem::path container() const { return root_ / "container.json"; }  // daemon → runner-engine
  std::filesystem::path log() const { return root_ / "std_log.txt"; }           // written by the shim only
  std::filesystem::path bundle() const { return root_ / "bundle"; }             // config.json for the OCI runtime
  std::filesystem::path runtime_state() const { return root_ / "state"; }       // --root of the OCI runtime
  std::filesystem::path io() const { return root_ / "io"; }                     // bound at /run/runner in the container
  std::filesystem::path log_fifo() const { return io() / "log"; }               // stdout and stderr of the script
  std::filesystem::path init_socket() const { return io() / "init"; }  // an Engine's container finds its shim here
  std::filesystem::path journal() const { return io() / "metrics.jsonseq"; }
  std::filesystem::path artifacts() const { return io() / "artifacts"; }  // files that the script hands over by name
  std::filesystem::path trees() const { return io() / "trees"; }          // sources of runs that the script submits
  std::filesystem::path upper() const { return root_ / "upper"; }         // overlay: what the run changed
  std::filesystem::path work() const { return root_ / "work"; }           // overlay's own
  std::filesystem::path home() const { return root_ / "home"; }           // the script's HOME
  std::filesystem::path passwd() const {
    return root_ / "passwd";
  }  // /etc/passwd with the caller, where the host's lacks him
  std::filesystem::path copy() const { return root_ / "copy"; }    // the working directory where no overlay can be
  std::filesystem::path sweep() const { return root_ / "sweep"; }  // empty layers, to have an Engine empty work()
  std::filesystem::path tmp() const { return root_ / "tmp"; }  // the script's /tmp: on disk, large data belongs there
  std::filesystem::path runtime_log() const { return root_ / "runtime.log"; }  // the OCI runtime's words on failure

 private:
  std::filesystem::path root_;
};

class DataDirectory {
 public:
  explicit DataDirectory(std::filesystem::path home) : home_(std::move(home)) {}
  const std::filesystem::path& home() const { return home_; }
  std::filesystem::path lock() const { return home_ / "daemon.lock"; }  // flock'ed by the one daemon
  std::filesystem::path daemon_record() const { return home_ / "daemon.json"; }
  std::filesystem::path daemon_log() const { return home_ / "daemon.log"; }
  std::filesystem::path control_socket() const { return home_ / "control.sock"; }
  std::filesystem::path history_database() const { return home_ / "runner.db"; }
  std::filesystem::path content_database() const { return home_ / "content.db"; }
  std::filesystem::path checkouts() const {
    return home_ / "checkouts";
  }                                                                // evictable real files (snapshot/checkouts.hpp)
  std::filesystem::path roots() const { return home_ / "roots"; }  // evictable mount point skeletons
  std::filesystem::path cache() const { return home_ / "cache"; }  // stat caches, interpreter probes
  std::filesystem::path environments() const { return home_ / "envs"; }  // built ones; database rows say which count
  std::filesystem::path tools() const { return home_ / "cache" / "tools"; }    // py-rattler's private environment
  std::filesystem::path wheels() const { return home_ / "cache" / "wheels"; }  // copies of wheels, to build offline
  std::filesystem::path ended_runs() const { return home_ / "on_end"; }        // whose on_end is still to be run
  std::filesystem::path runs() const { return home_ / "runs"; }
  std::filesystem::path api() const { return home_ / "api"; }          // bound at /run/runner-api in every container
  std::filesystem::path api_key() const { return home_ / "api.key"; }  // what the tokens of runs are made with
  static constexpr const char* kApiSocket = "api.sock";                // in api(): the run socket
  RunDirectory run(const std::string& id) const { return RunDirectory(runs() / id); }
  // What a script hands over, on its way out of its reach. No run has such a name: the next daemon removes it.
  std::filesystem::path handed_over(const std::string& name) const { return runs() / (kHandedOver + name); }
  static constexpr const char* kHandedOver = ".tree-";

 private:
  std::filesystem::path home_;
};

}  // namespace runner::os
