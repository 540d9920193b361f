// An existing Python interpreter: found the way the caller's shell would, asked once what it needs to run, remembered
// until anything it depends on changes. Any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::envs {

// What of the caller decides which interpreter is meant.
struct Caller {
  std::filesystem::path directory;  // where the command was given (version managers look for .python-version here)
  std::map<std::string, std::string> variables;  // PATH, VIRTUAL_ENV, CONDA_PREFIX, PYENV_*, HOME…
};

struct Distribution {
  std::string name;  // normalised
  std::string version;
  std::string directory;  // the search path entry it is in
};

struct Interpreter {
  std::string executable;  // sys.executable: absolute, venv links kept
  std::string version;     // "3.11.7"
  // Everything that must be visible beside the search path: sys.prefix, base_prefix, exec_prefix, where they and the
  // executable's links lead, and what editable installs' import hooks point to (files, too); absolute, distinct.
  std::vector<std::string> prefixes;
  std::vector<std::string> search_path;     // existing absolute sys.path entries (directories, zip files), in order
  std::string implementation;               // "cpython"
  std::string base_executable;              // the real program behind a virtual environment
  std::vector<Distribution> distributions;  // what is installed, as it is found on the search path
  std::string identity;                     // all of the above that a script can notice, one fact a line
  Hash digest;                              // of `identity`: the environment's
};

class InterpreterProbe {
 public:
  // `cache` is a directory for remembered answers; it may be deleted at any time. `limit` bounds each question to a
  // program.
  explicit InterpreterProbe(std::filesystem::path cache, std::chrono::milliseconds limit = std::chrono::seconds(20));

  // `python` as given by the user (a path, relative to `caller.directory`, or a program name); without it the active
  // virtual environment's, the active conda environment's, else `python3` on the caller's PATH. A shim (a script) is
  // asked anew every time for sys.executable; a real interpreter starts no process while its answer is remembered.
  // Errors: kInvalid "--python X: …" when it does not exist, does not start or is no Python; kUnavailable when there is
  // none.
  Interpreter resolve(const std::optional<std::string>& python, const Caller& caller) const;
  // The same without starting a process: nothing where one would have to be started.
  std::optional<Interpreter> remembered(const std::optional<std::string>& python, const Caller& caller) const;

 private:
  std::filesystem::path cache_;
  std::chrono::milliseconds limit_;
};

}  // namespace runner::envs
