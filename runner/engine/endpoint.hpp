// Which container engine is meant. Any thread; looks at sockets only.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace runner::engine {

// The socket that DOCKER_HOST of the caller (not of the daemon) names, else the first of engine_sockets() that somebody
// listens on. Errors: kInvalid for a DOCKER_HOST that is no unix:// address; kPermission for a socket that is there but
// not for this user; kUnavailable, naming where was looked, when there is none.
std::filesystem::path find_engine(const std::map<std::string, std::string>& caller_variables);

// Docker's, rootless Docker's, rootless Podman's, Podman's.
std::vector<std::filesystem::path> engine_sockets(const std::map<std::string, std::string>& caller_variables);

}  // namespace runner::engine
