// Which program makes conda environments. Private to this folder. Blocking; one thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "envs/build_console.hpp"
#include "envs/builders.hpp"

namespace runner::envs {

enum class CondaFlavour { kMicromamba, kMamba, kConda, kRattler, kPyRattler };

struct CondaClient {
  CondaFlavour flavour;
  std::filesystem::path program;  // absolute; kPyRattler: the Python that has it
  std::string name;               // "micromamba 2.0.5", for people
  int major = 0;                  // of its version
};

// The release of py-rattler that is installed where no client is found; from the index that pip is configured for.
inline constexpr const char* kPyRattlerVersion = "0.28.0";

// `settings.conda_client` (a path, a name on PATH, or "py-rattler"), else the first of micromamba, mamba, conda and
// rattler on the caller's PATH that starts, else py-rattler in `settings.tools`, installed there once.
// Error(kInvalid) naming the configured client that does not exist, does not start or is none; Error(kUnavailable) "no
// conda client: …" saying what was looked for, why py-rattler cannot be installed, and the way out.
CondaClient find_conda_client(const BuildSettings& settings, BuildConsole& console);

// The caller's variables without what an active environment or a Python of theirs put there.
std::map<std::string, std::string> tool_variables(const BuildSettings& settings);

}  // namespace runner::envs
