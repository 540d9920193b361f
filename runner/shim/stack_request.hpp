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
// To the process group of the script, which is `script` in its own pid namespace and a child of `init`, as a polite end
// goes to it. False: nobody in it would print a stack, or it is too large to look through, and nothing was sent.
bool ask_for_stacks(pid_t init, pid_t script, StackRequest request);

}  // namespace runner::shim
