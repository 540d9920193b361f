// Starting what makes the container: an OCI runtime, where crun cannot see the host's cgroups, with the init socket as
// descriptor 3; or runner-engine, with its socket as standard input.
#pragma once

#include <sys/types.h>

#include <chrono>

#include "runner/os/data_directory.hpp"
#include "runner/shim/spec.hpp"

namespace runner::shim {

// Forks the runtime, into the run's cgroup where that is a v2 one: being born there costs nothing, moving there 10 ms.
// Says whether it was. Its words go to runtime.log. A step that fails in the child is said there too, with exit status
// 126. Throws Error if not even a child could be made.
struct StartedRuntime {
  pid_t pid;
  bool joined;  // false: pid 1 has to be moved (os::join_run_cgroups)
};
StartedRuntime start_runtime(const os::RunDirectory& run, const Spec& spec, int socket);

// For whoever finds the shim dead: whether everything that the runtime has forked has come to its end, within
// `patience`. The runtime is killed with its shim; crun's second process, in a session of its own, goes on until it
// meets the container's end, and makes directories meanwhile. All of them hold the lock on runtime.log that
// start_runtime took.
bool await_runtime_end(const os::RunDirectory& run, std::chrono::milliseconds patience);

// The end of runtime.log on one line, without the runtime's prefixes; empty if it said nothing.
std::string runtime_words(const os::RunDirectory& run);

}  // namespace runner::shim
