// The Submission document of POST /v1/runs: what the user typed, as typed (docs/openapi.json); the daemon judges it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "runner/cli/options.hpp"

namespace runner::cli {

// The submitting process's surroundings.
struct Caller {
  std::filesystem::path directory;               // absolute
  std::map<std::string, std::string> variables;  // all of them; the ones the daemon needs are picked
};
Caller this_caller();

// DIR as typed, absolute and without "." and "..". Error(kInvalid) if it is not UTF-8, which JSON cannot say.
std::string absolute_directory(const std::filesystem::path& base, const std::string& directory);

// JSON text. Error(kInvalid) for `-E K` without a K in the environment and for words that are not UTF-8, which JSON
// cannot say.
std::string submission_document(const SubmitOptions& options, const Caller& caller);

// The document of POST /v1/runs/{run}/rerun: what differs from the original. Errors as above.
std::string rerun_document(const RerunOptions& options, const Caller& caller);

// The document of POST /v1/environments. Errors as above.
std::string registration_document(const EnvRegisterOptions& options, const Caller& caller);

}  // namespace runner::cli
