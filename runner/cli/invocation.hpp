// From argv to a command: finds the command's words, then lets CLI11 (arguments.cpp) read its options.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runner/cli/options.hpp"

namespace runner::cli {

// `arguments` without the program's name. Error(kInvalid) for wrong usage, with the nearest right word as its hint.
// `global` is filled as far as it was understood, also when this throws: the error itself may have to be JSON.
Command parse_invocation(std::span<const std::string> arguments, GlobalOptions& global);

}  // namespace runner::cli
