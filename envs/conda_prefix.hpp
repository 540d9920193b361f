// A conda prefix on this disk, for this machine or for an image: what build_conda and build_conda_in_image share.
// Private to this folder. Blocking; one thread; throws what builders.hpp says.
//
// The client always runs here; it only unpacks and patches files. What runs programs of the prefix (pip, the scripts of
// activation) goes through `inside`, because they need the libraries of the machine the prefix is for.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "envs/builders.hpp"

namespace runner::envs {

struct CondaPrefixOptions {
  // Virtual package → its version, in place of what the client finds out about this machine: {"glibc", "2.36"} is
  // CONDA_OVERRIDE_GLIBC; an empty version: there is none ({"cuda", ""}).
  std::map<std::string, std::string> virtual_packages{};
  // Whether packages' post-link scripts are run (here).
  bool link_scripts = true;
  // Runs a program of the prefix. Empty: here, by the console.
  RunTool inside{};
};

// Without channels in the specification: conda-forge alone. A client's own default channels never take part.
BuildResult build_conda_prefix(const BuildRequest& request, const CondaPrefixOptions& options, BuildConsole& console);

// What is in the prefix by its conda-meta: "conda" packages, sorted by name; URLs without credentials. Error(kInvalid)
// naming a record that is no JSON.
std::vector<LockedPackage> conda_packages(const std::filesystem::path& prefix);

// What activating the prefix sets: conda-meta/state, etc/conda/env_vars.d/*.json, and the difference that sourcing
// etc/conda/activate.d/*.sh makes in a clean shell. PATH and CONDA_PREFIX are left to whoever starts a run.
std::map<std::string, std::string> conda_activation(const std::filesystem::path& prefix, const RunTool& run);

}  // namespace runner::envs
