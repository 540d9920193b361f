// The socket to the shim, on descriptor kInitSocket (runner/shim/init_protocol.hpp). One thread; nothing here fails back:
// an init without a shim ends.
#pragma once

#include <sys/types.h>
#include <cstdint>

#include "runner/shim/init_protocol.hpp"

namespace runner::init {

extern char message[shim::kMostExecBytes];  // the last one that was heard

void report(const shim::InitRecord& record);
void report(shim::InitEvent event, std::int32_t value = 0, std::uint32_t detail = 0);

// The script cannot be started: says so and exits with kNotStarted.
inline constexpr int kNotStarted = 127;
[[noreturn]] void give_up(shim::InitStep step, int error);

[[noreturn]] void end_with_shim();

// One message of the shim into `message`, with up to three descriptors (-1 where there is none). What recvmsg says.
ssize_t hear(int (&descriptors)[3], int flags);

}  // namespace runner::init
