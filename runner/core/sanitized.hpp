// Whether this is a build with AddressSanitizer or ThreadSanitizer: stack frames and memory are several times as large
// there.
#pragma once

#ifndef __has_feature
#define __has_feature(feature) 0  // clang's word; g++ says it with macros
#define RUNNER_UNDEFINE_HAS_FEATURE
#endif

namespace runner {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace runner

#ifdef RUNNER_UNDEFINE_HAS_FEATURE
#undef __has_feature
#undef RUNNER_UNDEFINE_HAS_FEATURE
#endif
