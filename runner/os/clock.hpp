// Clocks that deadlines may use, and the identity of this boot.
#pragma once

#include <chrono>
#include <string>

namespace runner::os {

// CLOCK_MONOTONIC: stands still while the laptop sleeps, comparable between processes of one boot.
std::chrono::nanoseconds monotonic_now();
// /proc/sys/kernel/random/boot_id; a monotonic time means something only together with it.
const std::string& boot_id();

}  // namespace runner::os
