// Fetches files of package indexes by their URLs, for what no tool keeps. Private to this folder.
#pragma once

#include <filesystem>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/builders.hpp"
#include "envs/lock.hpp"
#include "envs/specification.hpp"

namespace runner::envs {

// The package's file, below `into`, by the standard library of the prefix's Python (which knows proxies, certificates
// and ~/.netrc); what cannot be had is missing there, with a line in the log. Contents are not checked.
void fetch_files(const std::vector<LockedPackage>& packages, const std::filesystem::path& into,
                 const std::filesystem::path& python, const Specification& specification, const BuildSettings& settings,
                 BuildConsole& console);

// "https://host:8080" of "https://user:x@host:8080/a".
std::string origin_of(std::string_view url);

}  // namespace runner::envs
