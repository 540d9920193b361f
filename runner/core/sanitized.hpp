// Whether this is a build with a sanitizer (RUNNER_SANITIZE): stack frames and memory are several times as large there.
#pragma once

namespace runner {

#ifdef RUNNER_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace runner
