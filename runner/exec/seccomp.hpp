// The sandbox's system call filter as OCI config.json wants it: a short deny list (as Flatpak's). An allow list costs
// 3–15 ms at every start (platform.md, 5) and protects no better here, where there are no capabilities and no new
// privileges.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace runner::exec {

// `machine` as uname -m says it. An empty object for a machine we have no architecture name for: then there is no
// filter.
nlohmann::json seccomp_filter(const std::string& machine);

}  // namespace runner::exec
