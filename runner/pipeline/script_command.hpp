// The exact argument vector and environment of a run's script.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/core/run.hpp"

namespace runner::pipeline {

// How a script is started, from its name and its first line: `.py` by the environment's interpreter, `.sh` by sh,
// anything else by its own "#!" line, read in `directory`: the source while submitting, the frozen files afterwards.
// Error(kInvalid) for a file that says neither.
std::vector<std::string> script_command(const RunDefinition& definition, const std::string& interpreter,
                                        const std::filesystem::path& directory);
inline std::vector<std::string> script_command(const RunDefinition& definition, const std::string& interpreter) {
  return script_command(definition, interpreter, definition.source_directory);
}

// Who runs the script: the owner of the daemon.
struct Account {
  std::string user;
  std::string home;
};
Account own_account();

// The whole environment of the script: nothing of the daemon's own leaks in.
std::map<std::string, std::string> script_variables(const RunRecord& run, const Account& account);

// Where the snapshot is mounted: at the source directory's own path, so that tracebacks, absolute paths and editable
// installs mean the frozen files; /work where that path would cover what the system or the run itself needs.
std::string working_directory_for(const std::string& source_directory, const std::string& home);

// Where our Python package is mounted in a run.
inline constexpr const char* kPythonPackagePath = "/run/runner-python";

}  // namespace runner::pipeline
