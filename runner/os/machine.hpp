// What the machine has. Any thread.
#pragma once

#include <cstdint>

#include "runner/core/run.hpp"

namespace runner::os {

int usable_cpus();               // that this process may run on, at least 1
std::int64_t physical_memory();  // bytes
// What tells this machine from another, or from itself after an upgrade. Reads a few small files; what cannot be read
// is not known.
MachineFacts machine_facts();

}  // namespace runner::os
