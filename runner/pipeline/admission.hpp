// From what the user typed to a run that may exist: runconfig merged in, every value parsed, every path checked.
// Nothing is written here; the first error ends it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envs/interpreter.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "runner/pipeline/environment_choice.hpp"
#include "runner/pipeline/secrets.hpp"
#include "store/environments.hpp"

namespace runner::pipeline {

inline constexpr const char* kRerunOf = "runner.rerunOf";  // property: the run that this one repeats

struct Admission {
  RunRecord run;                      // without snapshot, git and environment
  std::optional<std::string> python;  // the interpreter on this machine that was asked for; never with an image
  std::optional<EnvironmentChoice> environment;  // what has to be prepared, or was registered
  // Rows that must be there before the run's (environments.cpp).
  std::optional<store::StoredEnvironment> environment_row;
  std::string lock{};                 // JSON of run.environment.lock_digest, where it is not stored yet
  std::string autosave{};             // the definition to be kept under run.environment.name
  bool interpreter_required = false;  // the script is Python and runs without an image: no interpreter is an error
  envs::Caller caller;                // its DOCKER_HOST and XDG_RUNTIME_DIR say where the Engine listens
  std::map<std::string, std::string>
      secrets;                       // name → value of run.definition.secrets; apart, so that nobody stores them
  std::vector<std::string> notices;  // unknown runconfig keys
  std::vector<Artifact> artifacts;   // what the run has from the start: its uncommitted change (source_reading.hpp)
};

// Errors: kInvalid for everything the user can correct (cli.md: exit code 2), kNotFound for a missing source directory.
// kUnavailable for --isolation none, kPermission for a secrets file that others may read. With an image the run's
// isolation is docker, and the other way round; whether there is an Engine is not asked here.
Admission admit(
    const api::Submission& submission, const std::filesystem::path& secrets_file = default_secrets_file(),
    const FindRegistered& registered = [](const std::string&) { return std::nullopt; });

// The same for a run that repeats `original` as `overrides` change it: without snapshot, git and environment, too, but
// nothing is read of the source directory and no runconfig. Secrets that are not named again must be in the file.
// kInvalid also for a mount whose source is gone, and for arguments where the original had no script.
Admission admit_again(
    const RunRecord& original, const api::Submission& overrides,
    const std::filesystem::path& secrets_file = default_secrets_file(),
    const FindRegistered& registered = [](const std::string&) { return std::nullopt; });

Error more_than_parent(const std::string& what);  // of a member of a submission
// The same for a run that the script of `parent` submits: the script or the command, arguments, name, tags, properties
// and variables are its own, all else is its parent's, or less. Kind, source and place are the caller's to settle.
// more_than_parent() for what would be more; what its log may have is the caller's to compare.
Admission admit_child(
    const RunRecord& parent, const api::Submission& submission,
    const std::filesystem::path& secrets_file = default_secrets_file(),
    const FindRegistered& registered = [](const std::string&) { return std::nullopt; });

// The source directory, without links. Error(kInvalid) for $HOME and / that nobody named, kNotFound.
std::filesystem::path existing_source(const std::string& directory, bool named_explicitly);
// Error(kInvalid) for a name that is none.
void check_experiment(const std::string& name);
// A legal experiment name from a directory's: letters, digits, '_' and '-', a letter or digit first.
std::string experiment_name_from(const std::string& directory_name);
// "SRC:DST[:ro|:rw]". Messages begin with `what`.
Mount parse_mount(const std::string& text, const std::string& what = "--mount");

}  // namespace runner::pipeline
