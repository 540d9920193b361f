// Between runner-init and its shim: one SOCK_SEQPACKET socket, inherited by runner-init as descriptor 3.
//   init → shim   kReady, once the log is open; then nothing happens until
//   shim → init   kGo, when init is in the run's cgroups (so the runtime's own start does not wait for them)
//   init → shim   kStarted or kExecFailed; later kEnded
// The socket is also the lifeline: end of file means that the shim is dead, and runner-init kills the container.
// The kernel attaches the sender's pid (SO_PASSCRED), so the shim learns pid 1's number in its own pid namespace.
// Both programs come from one build; the version tells a mixed installation apart. Plain data: runner-init has no
// library.
#pragma once

#include <cstdint>

namespace runner::shim {

inline constexpr int kInitSocket = 3;
inline constexpr std::uint32_t kInitProtocolVersion = 1;

inline constexpr char kGo = 'g';

enum class InitEvent : std::uint32_t {
  kReady = 1,
  kStarted = 2,     // the script's exec succeeded
  kExecFailed = 3,  // it did not; `value` is the errno, `detail` an InitStep
  kEnded = 4,       // the main process ended; `value` is its wait status; usage is of all that init has reaped
};

enum class InitStep : std::uint32_t { kOpenLog = 1, kExec = 2, kInterpreter = 3 };

struct InitRecord {
  std::uint32_t version = kInitProtocolVersion;
  InitEvent event = InitEvent::kReady;
  std::int32_t value = 0;
  InitStep detail = InitStep::kExec;
  std::int64_t user_micros = 0;
  std::int64_t system_micros = 0;
  std::int64_t peak_kib = 0;  // of the largest single process
};
static_assert(sizeof(InitRecord) == 40);

}  // namespace runner::shim
