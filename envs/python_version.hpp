// Whether a Python is one that a `requires-python` asks for. Any thread; no I/O.
#pragma once

#include <string_view>

namespace runner::envs {

// `version` is "3.11.7"; `specifiers` are PEP 440's, ">=3.9,<3.13,!=3.10.*". An empty text takes every version.
// Error(kInvalid) for what is no specifier.
bool python_satisfies(std::string_view version, std::string_view specifiers);

// How a specification's pip_options keep it: "--requires-python=>=3.9". Not an option of pip.
inline constexpr std::string_view kRequiresPython = "--requires-python=";

}  // namespace runner::envs
