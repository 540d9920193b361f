// Whether a prepared environment is still what was built. Reads directories, starts nothing. Any thread.
#pragma once

#include <filesystem>

#include "envs/interpreter.hpp"
#include "envs/lock.hpp"

namespace runner::envs {

// Of what is installed in a prefix: the names in conda-meta and of every distribution in its site-packages. An empty or
// missing prefix has one, too, and it is no built one's.
Hash fingerprint_of(const std::filesystem::path& prefix);

// What an existing interpreter has, as a lock: names and versions; where they came from is not known.
Lock lock_of(const Interpreter& interpreter);

}  // namespace runner::envs
