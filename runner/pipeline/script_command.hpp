// The exact argument vector and environment of a run's script.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/core/content.hpp"
#include "runner/core/run.hpp"

namespace runner::pipeline {

struct StartCommand {
  std::vector<std::string> candidates{};  // in an image: the programs of which the first that exists runs `arguments`
  std::vector<std::string> arguments{};   // without candidates [0] is the program
};

// The first bytes of the script; kHeadBytes are enough.
using ScriptHead = std::function<std::string()>;
inline constexpr std::size_t kHeadBytes = 256;  // BINPRM_BUF_SIZE: what the kernel looks at
// As it lies in the source directory, and as it was frozen.
std::string source_head(const RunDefinition& definition);
std::string frozen_head(const ContentReader& content, const Hash& snapshot, const RunDefinition& definition);

// How a script is started, from its name and its first line: `.py` by the environment's interpreter, `.sh` by sh,
// anything else by its own "#!" line: the source's while submitting, the frozen one's afterwards. In an image, of which
// nothing is known before its container runs, Python is a choice of candidates.
// Error(kInvalid) for a file that says neither.
StartCommand start_command(const RunDefinition& definition, const std::string& interpreter, const ScriptHead& head);
inline StartCommand start_command(const RunDefinition& definition, const std::string& interpreter) {
  return start_command(definition, interpreter, [&definition] { return source_head(definition); });
}

// Who runs the script: the owner of the daemon.
struct Account {
  std::string user;
  std::string home;
};
Account own_account();

// The whole environment of the script: nothing of the daemon's own leaks in. `image`: the variables an image brings,
// which give way to the user's, but not to our defaults.
std::map<std::string, std::string> script_variables(const RunRecord& run, const Account& account,
                                                    const std::map<std::string, std::string>& image = {});

// Where the snapshot is mounted: at the source directory's own path, so that tracebacks, absolute paths and editable
// installs mean the frozen files; /work where that path would cover what the system or the run itself needs.
std::string working_directory_for(const std::string& source_directory, const std::string& home);

// Where our Python package is mounted in a run.
inline constexpr const char* kPythonPackagePath = "/run/runner-python";
// The run socket in a run.
inline constexpr const char* kRunSocketPath = "/run/runner-api/api.sock";

}  // namespace runner::pipeline
