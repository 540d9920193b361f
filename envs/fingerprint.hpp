// Whether a prepared environment is still what was built. Reads directories, starts nothing. Any thread.
#pragma once

#include <filesystem>

#include "envs/interpreter.hpp"
#include "envs/lock.hpp"

namespace runner::envs {

// Of what is installed in a prefix: names, sizes and times of the files in bin, lib, conda-meta, the standard library's
// directory, site-packages and its packages' first level (1 000 files take about a millisecond). What is changed deeper
// down, or without a trace in size and time, is not seen. A missing prefix has one, too, and it is no built one's.
Hash fingerprint_of(const std::filesystem::path& prefix);

// What an existing interpreter has, as a lock: names and versions; where they came from is not known.
Lock lock_of(const Interpreter& interpreter);

}  // namespace runner::envs
