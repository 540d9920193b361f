// The life of one run, from claim to exit.json. The only entry of runner-shim.
#pragma once

#include "runner/os/data_directory.hpp"

namespace runner::shim {

// Returns the process's exit status: 0 when exit.json is written or another shim holds the claim, 1 when not even
// exit.json could be written. Throws Error only before the claim. One thread; blocks all signals of the process.
int supervise(const os::RunDirectory& run);

}  // namespace runner::shim
