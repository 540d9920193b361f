// What `run exec` starts beside the script. The script's processes have the same uid and may stop or kill a child of ours
// from the moment it exists, so nothing here waits for one: whether its program runs is read from a pipe that its exec
// closes. One thread.
#pragma once

#include <poll.h>
#include <signal.h>
#include <cstddef>
#include <cstdint>

#include "tools/runner-init/link.hpp"

namespace runner::init {

// In a child, before its exec: a session of its own, and signals as a program expects them.
void begin_child();

// The command behind the header of `message`, of `size` bytes. Answers kExecStarted or kExecRefused, now or later.
void start_exec(std::uint32_t id, std::size_t size, const int (&descriptors)[3]);
void kill_exec(std::uint32_t id);
void exec_ended(pid_t pid, int status);  // of any child that was reaped

// Of those whose program does not run yet: their pipes, at most kMostExecs; how many.
std::size_t starting_execs(pollfd* watched);
// Answers for those of which more is known, and sets those going again that were stopped meanwhile. To be called in every
// round, and every kNudgeMillis while there are any, except while the run is paused.
inline constexpr int kNudgeMillis = 20;
void look_at_starting_execs();

}  // namespace runner::init
