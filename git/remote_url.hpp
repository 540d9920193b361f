// Which remote a work tree belongs to. Private to git/.
#pragma once

#include <optional>
#include <string>

#include "git/repository_handle.hpp"

namespace runner::git {

// The URL of the remote that `branch` follows, else of `origin`, else of the first one configured; url.*.insteadOf
// applied as `git remote get-url` does. Credentials are still in it.
std::optional<std::string> remote_url(git_repository* repository, const std::optional<std::string>& branch);

}  // namespace runner::git
