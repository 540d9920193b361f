// What the machine has. Any thread.
#pragma once

#include <cstdint>

namespace runner::os {

int usable_cpus();               // that this process may run on, at least 1
std::int64_t physical_memory();  // bytes

}  // namespace runner::os
