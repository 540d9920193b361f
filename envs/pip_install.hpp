// The pip part of an environment, installed into the Python of a prefix: a fresh virtual environment's, or a conda
// prefix's beside what conda has put there. uv where the caller has it, else the prefix's own pip. Blocking; one
// thread.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/builders.hpp"
#include "envs/lock.hpp"
#include "envs/specification.hpp"

namespace runner::envs {

struct PipInstall {
  const Specification& specification;  // pip, pip_options, constraints, files
  const std::optional<Lock>& lock;     // its "pip" packages, exactly; others are somebody else's
  std::filesystem::path prefix;        // has bin/python
  const BuildSettings& settings;
  bool shared = false;  // packages of another manager are in the prefix and satisfy requirements, too
  // Runs a program of the prefix where its libraries are (an image), with the console's scratch directory, the wheels
  // and the prefix at the same paths. Then pip is used, for uv is a program of this machine. Empty: here.
  RunTool inside{};
};

struct PipResult {
  std::vector<LockedPackage> packages;  // what was installed, sorted; URLs without credentials. Not pip itself
  std::vector<std::string> warnings;
};

// Errors: what the tool said (BuildConsole::failure); kInvalid for a local file that is not what it was when it was
// read and for a hash that is not the asked one; kUnavailable "NAME VERSION (FILE): …" for a locked package that can be
// had neither from the caches nor from the network.
PipResult install_pip(const PipInstall& part, BuildConsole& console);

// uv as the caller's shell would find it; shims of version managers, which may have none behind them, do not count.
std::optional<std::filesystem::path> find_uv(const std::map<std::string, std::string>& variables);

// The caller's variables as pip and uv should see them: none that send packages elsewhere or that belong to another
// Python.
std::map<std::string, std::string> pip_variables(const BuildSettings& settings, const std::filesystem::path& scratch);

// Everything secret that tools of this build may print: of the credentials, of ${VARIABLES} in the specification's
// URLs, and of index URLs and proxies among the caller's variables. For BuildConsole::Options::secrets.
std::vector<std::string> pip_secrets(const Specification& specification, const BuildSettings& settings);

}  // namespace runner::envs
