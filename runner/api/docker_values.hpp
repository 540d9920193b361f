// The values of `docker run` options: text in, checked value out. For docker_arguments.cpp. Each throws Error(kInvalid)
// whose message begins with `what` ("x.runconfig:12: docker.arguments: --ulimit") and whose hint shows the right form.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "runner/core/run.hpp"

namespace runner::api {

EngineOptions::Ulimit parse_ulimit(const std::string& text, const std::string& what);  // "nofile=1024[:2048]"
std::string parse_cpuset(const std::string& text, const std::string& what);            // "0-2,4", as given
std::string parse_extra_host(const std::string& text, const std::string& what);        // "db:10.0.0.1" or "db=…"
std::string parse_address(const std::string& text, const std::string& what);           // IPv4 or IPv6
std::string parse_hostname(const std::string& text, const std::string& what);
std::pair<std::string, std::string> parse_tmpfs(const std::string& text, const std::string& what);  // path, options
std::string parse_gpus(const std::string& text, const std::string& what);  // "all", "2", "device=0,1", without quotes
double parse_cpus(const std::string& text, const std::string& what);
std::int64_t parse_integer(const std::string& text, const std::string& what, std::int64_t least, std::int64_t most);

// -v and --mount. The first gives "SRC:DST:ro|rw".
std::string parse_volume(const std::string& text, const std::string& what);
struct MountOption {
  std::string bind;                           // "SRC:DST:ro|rw", or empty
  std::pair<std::string, std::string> tmpfs;  // or path and options
};
MountOption parse_mount_option(const std::string& text, const std::string& what);

}  // namespace runner::api
