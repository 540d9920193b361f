// From what the user typed to a run that may exist: runconfig merged in, every value parsed, every path checked.
// Nothing is written here; the first error ends it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/run.hpp"

namespace runner::pipeline {

struct Admission {
  RunRecord run;                      // without snapshot, git and environment
  std::optional<std::string> python;  // the interpreter that was asked for
  bool interpreter_required = false;  // the script is Python: no interpreter is an error
  envs::Caller caller;
  std::vector<std::string> notices;  // unknown runconfig keys
};

// Errors: kInvalid for everything the user can correct (cli.md: exit code 2), kNotFound for a missing source directory.
Admission admit(const api::Submission& submission);

// A legal experiment name from a directory's: letters, digits, '_' and '-', a letter or digit first.
std::string experiment_name_from(const std::string& directory_name);
// "SRC:DST[:ro|:rw]".
Mount parse_mount(const std::string& text);

}  // namespace runner::pipeline
