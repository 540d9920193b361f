// Between runner-init and its shim: one SOCK_SEQPACKET socket. An OCI runtime passes it on as descriptor 3; in an
// Engine's container, which inherits nothing, runner-init connects to a socket of the run directory (--connect).
//   init → shim   kReady, once the log is open; then nothing happens until
//   shim → init   kGo, when init is in the run's cgroups; with a memfd of what is written down nowhere, if there is any
//   init → shim   kStarted or kExecFailed; later kEnded
//   shim → init   kBye after kEnded, where init connected: until then its cgroup lives and can be read
//   shim → init   kStop, kContinue: SIGSTOP or SIGCONT to everything but init, where there is no freezer; processes
//                that send each other SIGCONT meanwhile may go on
//   shim → init   kStartCommand with an id, words and three descriptors: one more process beside the script
//   init → shim   kExecStarted or kExecRefused; later kExecEnded
//   shim → init   kKillCommand with an id: end it
// The socket is also the lifeline: end of file means that the shim is dead, and runner-init kills the container.
// The kernel tells the sender's pid (SO_PASSCRED, SO_PEERCRED), so the shim learns pid 1's number in its own namespace.
// Both programs come from one build; the version tells a mixed installation apart. Plain data: runner-init has no
// library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace runner::shim {

inline constexpr int kInitSocket = 3;
inline constexpr int kLostShimStatus = 125;  // runner-init's exit status when it finds no shim, or loses it
inline constexpr std::uint32_t kInitProtocolVersion = 3;

// shim → init: the first byte of every message; kStartCommand and kKillCommand are followed by the id (4 bytes, host
// order), kStartCommand then by the argument vector, every word ended by NUL.
inline constexpr char kGo = 'g';
inline constexpr char kBye = 'b';
inline constexpr char kStop = 's';
inline constexpr char kContinue = 'c';
inline constexpr char kStartCommand = 'x';
inline constexpr char kKillCommand = 'k';
inline constexpr std::size_t kExecHeader = 5;             // bytes
inline constexpr std::size_t kMostExecBytes = 128 << 10;  // of one message; the kernel takes up to 208 KiB
inline constexpr std::size_t kMostExecWords = 4096;
inline constexpr std::size_t kMostExecs = 64;  // at once in one run

// The memfd: for each its name, NUL, its length in decimal, NUL, its bytes. A secret becomes a file of that name in
// kSecretsTarget. Behind kVariableMark the name is that of a variable of the script, which its configuration has left
// empty: there anybody who may ask the Engine could read it.
inline constexpr const char* kSecretsTarget = "/run/secrets";
inline constexpr char kVariableMark = '=';
inline constexpr const char* kTokenVariable = "RUNNER_TOKEN";
inline constexpr std::size_t kMostVariableBytes = 1024;  // "NAME=VALUE" and its NUL; there is one of them

enum class InitEvent : std::uint32_t {
  kReady = 1,
  kStarted = 2,      // the script's exec succeeded; `value` is which of the candidates it was, `detail` its pid
  kExecFailed = 3,   // it did not; `value` is the errno, `detail` an InitStep
  kEnded = 4,        // the main process ended; `value` is its wait status, `detail` the signal that init was sent from
                     // elsewhere and passed on (0: none); usage is of all that init has reaped
  kExecStarted = 5,  // of the exec `detail`
  kExecRefused = 6,  // `value` is the errno; ECANCELED: processes of the run kept stopping it
  kExecEnded = 7,    // `value` is its wait status
};

enum class InitStep : std::uint32_t {
  kOpenLog = 1,
  kExec = 2,
  kInterpreter = 3,
  kCandidates = 4,        // none of the --try programs exists
  kWorkingDirectory = 5,  // --overlay: it is no overlay, so the Engine has not mounted it
  kSecrets = 6,
};

struct InitRecord {
  std::uint32_t version = kInitProtocolVersion;
  InitEvent event = InitEvent::kReady;
  std::int32_t value = 0;
  std::uint32_t detail = 0;
  std::int64_t user_micros = 0;
  std::int64_t system_micros = 0;
  std::int64_t peak_kib = 0;  // of the largest single process
};
static_assert(sizeof(InitRecord) == 40);

}  // namespace runner::shim
