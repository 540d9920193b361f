// Asking Pythons for their stacks at the end of their time. PYTHONFAULTHANDLER=1, which every run has, lets SIGABRT
// print them and then end the process.
#pragma once

#include <sys/types.h>

#include <vector>

#include "runner/os/fd.hpp"
#include "runner/os/process_tree.hpp"

namespace runner::shim {

enum class StackRequest {
  // Those that SIGTERM, which is next, would kill without a word. The others are stopped: a shell would go on with its
  // next
  // command when the Python it waits for has died.
  kPolitely,
  kAtLast,  // SIGKILL is next: everybody who can print one
};
struct StackAnswer {
  bool asked = false;     // false: nobody would print a stack, or there is too much to look through; nothing was sent
  bool possible = false;  // somebody could when SIGKILL is next
  std::vector<os::Fd> printing{};  // pidfds of those that were asked: they end when they have printed
};
// To the process group of the script, which is `script` in its own pid namespace and a child of the root of `tree`, as
// a polite end goes to it.
StackAnswer ask_for_stacks(const os::ProcessTree& tree, pid_t script, StackRequest request);
// Whether one of these processes has not ended (a zombie has).
bool any_lives(const std::vector<os::Fd>& pidfds);
// After kPolitely: SIGTERM to all of the group that is left, and lets it go on. False if there is nobody, or too many
// to look through.
bool end_politely(const os::ProcessTree& tree, pid_t script);

}  // namespace runner::shim
