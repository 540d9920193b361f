// Puts the pip packages of a specification into an environment that has a Python with pip. Private to this folder.
// Blocking; one thread.
#pragma once

#include <string>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/builders.hpp"
#include "envs/lock.hpp"

namespace runner::envs {

// pip, pip_options and constraints of the request's specification, or exactly the "pip" packages of its lock. `python`
// is the environment's; every program of the environment is started by `run`. What was installed: "pip" packages,
// sorted. Throws what builders.hpp says.
std::vector<LockedPackage> install_pip(const BuildRequest& request, const std::string& python, const RunTool& run,
                                       BuildConsole& console);

}  // namespace runner::envs
