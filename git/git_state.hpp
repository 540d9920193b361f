// Where the source came from: a read-only look at the repository around a directory. Nothing from the repository is
// ever executed (no hooks, filters, fsmonitor), no environment variable redirects it. Any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::git {

// Whether a directory holds untracked files that git's ignore rules do not name. The pipeline passes
// snapshot::has_untracked, whose rules are exactly git's; without it libgit2's own rules decide, which are nearly so.
using HasUntracked = std::function<bool(const std::filesystem::path& directory)>;

// The state as DESIGN.md defines it; nothing if `directory` is in no repository's work tree. A repository that cannot
// be read (damaged, SHA-256 objects, bare) is nothing plus a line in `notes`: git never stops a run.
std::optional<GitState> read_state(const std::filesystem::path& directory, std::vector<std::string>& notes,
                                   const HasUntracked& has_untracked = {});

// "https://user:secret@host/x.git" → "https://host/x.git"; scp-like and local forms unchanged but for credentials. Over
// SSH the user's name stays (it is part of the address), a password goes; a query of an http URL goes whole.
std::string strip_credentials(const std::string& url);

// Azure ML's and MLflow's immutable properties; absent facts are absent.
std::map<std::string, std::string> properties_of(const GitState& state);

}  // namespace runner::git
