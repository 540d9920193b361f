// Where the source came from: a read-only look at the repository around a directory. Nothing from the repository is ever
// executed (no hooks, filters, fsmonitor), no environment variable redirects it. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::git {

// The state as DESIGN.md defines it; nothing if `directory` is in no repository. An unreadable repository is nothing plus a
// line in `notes`: git never stops a run.
std::optional<GitState> read_state(const std::filesystem::path& directory, std::vector<std::string>& notes);

// "https://user:secret@host/x.git" → "https://host/x.git"; scp-like and local forms unchanged but for credentials.
std::string strip_credentials(const std::string& url);

// Azure ML's and MLflow's immutable properties; absent facts are absent.
std::map<std::string, std::string> properties_of(const GitState& state);

}  // namespace runner::git
