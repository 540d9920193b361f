// `run exec`: the daemon connects to RunDirectory::control() (SOCK_SEQPACKET) and sends one message: the argument
// vector, every word ended by NUL, with three descriptors (standard input, output, error). The shim answers with
// ExecRecords. Closing the connection before kEnded kills what was started.
#pragma once

#include <cstdint>

namespace runner::shim {

enum class ExecEvent : std::uint32_t {
  kStarted = 1,
  kRefused = 2,  // `value` is the errno; nothing follows
  kEnded = 3,    // `value` is the wait status; nothing follows
};

struct ExecRecord {
  ExecEvent event = ExecEvent::kRefused;
  std::int32_t value = 0;
};

}  // namespace runner::shim
