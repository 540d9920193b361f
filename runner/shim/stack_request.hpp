// Asking Pythons for their stacks at the end of their time. PYTHONFAULTHANDLER=1, which every run has, lets SIGABRT
// print them and then end the process.
#pragma once

#include <sys/types.h>

#include "runner/os/process_tree.hpp"

namespace runner::shim {

enum class StackRequest {
  kPolitely,  // instead of SIGTERM where that would have killed without a word; the others get SIGTERM
  kAtLast,    // SIGKILL is next: everybody who can print one
};
struct StackAnswer {
  bool asked = false;     // false: nobody would print a stack, or there is too much to look through; nothing was sent
  bool possible = false;  // somebody could when SIGKILL is next
};
// To the process group of the script, which is `script` in its own pid namespace and a child of the root of `tree`, as
// a polite end goes to it.
StackAnswer ask_for_stacks(const os::ProcessTree& tree, pid_t script, StackRequest request);

}  // namespace runner::shim
