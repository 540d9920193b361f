// Between runner-engine and its shim: one SOCK_SEQPACKET socket, runner-engine's standard input.
//   engine → shim   kCreated, with the container's id
//   shim → engine   kPause or kUnpause: one byte
//   engine → shim   an EngineRecord for each answer, however late it comes; and kEnded last
// End of file tells runner-engine that its shim is done with it. Both programs come from one build.
#pragma once

#include <array>
#include <cstdint>

namespace runner::shim {

inline constexpr char kPause = 'p';
inline constexpr char kUnpause = 'u';

enum class EngineEvent : std::uint32_t {
  kPaused = 1,
  kUnpaused = 2,
  kPauseFailed = 3,  // either way; `words` say why
  kEnded = 4,        // the Engine says so: the container runs no more
  kCreated = 5,      // `words` are its id: with it another runner-engine can follow the container
};

struct EngineRecord {
  EngineEvent event = EngineEvent::kEnded;
  std::int32_t exit_code = 0;  // the Engine's word; 137 for SIGKILL
  bool out_of_memory = false;
  bool removed = false;           // somebody else removed the container: nothing more is known
  std::array<char, 502> words{};  // NUL-terminated; may be cut
};

}  // namespace runner::shim
