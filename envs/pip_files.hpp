// What pip and uv are given to read: requirements and constraints with their credentials, in files that only we can
// read. And what every way to install needs. Private to this folder.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "envs/pip_install.hpp"

namespace runner::envs {

// "--index-url=URL" → {"--index-url", "URL"}.
struct PipOption {
  std::string name;
  std::string value;
};
PipOption pip_option(std::string_view text);

// A URL with its credentials and, as `expanded` wants it, the caller's ${VARIABLES} in place.
std::string url_with_credentials(const std::string& url, const BuildSettings& settings);
std::string expanded(const std::string& text, const std::map<std::string, std::string>& variables);

// "foo[a]>=1; …" → "foo"; empty for a bare URL.
std::string name_of_requirement(std::string_view requirement);
// The URL of "foo @ URL …" or of a bare URL; empty for any other.
std::string url_of_requirement(std::string_view requirement);

// The requirement with the URL's credentials in place.
std::string requirement_line(const std::string& requirement, const BuildSettings& settings);

// The whole URL, with credentials and the caller's ${VARIABLES}, by which the specification asks for what a lock knows
// as `url`; empty: it does not ask for it by its URL.
std::string asked_url(const std::string& url, const Specification& specification, const BuildSettings& settings);

// "name==version", or "name @ URL" for what the specification names by its URL; without a hash.
std::string locked_requirement(const LockedPackage& package, const Specification& specification,
                               const BuildSettings& settings);

// Writes "scratch/NAME", 0600.
std::filesystem::path write_lines(const std::filesystem::path& scratch, const std::string& name,
                                  const std::vector<std::string>& lines);

// Error(kInvalid) naming a local file whose content is not what it was when the specification was read.
void check_local_files(const Specification& specification);

// Here or inside.
int run_tool(const PipInstall& part, BuildConsole& console, const Tool& tool,
             const std::function<void(std::string_view)>& on_line = {}, std::string* out = nullptr);

std::string counted(std::size_t number, const std::string& what);  // "1 package", "2 packages"

// The one that a failing tool named last; null: none.
const LockedPackage* mentioned(const std::vector<LockedPackage>& wanted, const std::vector<std::string>& said);
// The error of a failed installation from a lock, by what the tool said: which artefact could not be had.
Error missing_artefact(const std::vector<LockedPackage>& wanted, const std::vector<std::string>& said,
                       const Error& otherwise);

// Whether a line of pip's, uv's or git's complains of the network.
bool says_no_network(std::string_view line);
// The error of an installation that failed for want of one: which package it did without.
Error without_network(const std::vector<std::string>& said, const Error& otherwise);

// The two ways. `wanted`: the lock's pip packages; null: what the specification asks for.
PipResult install_with_uv(const std::filesystem::path& uv, const PipInstall& part,
                          const std::vector<LockedPackage>* wanted, BuildConsole& console);
// The first of the packages that uv could not install without the network; null: it could install all.
const LockedPackage* missing_in_uv(const std::filesystem::path& uv, const PipInstall& part,
                                   const std::vector<LockedPackage>& packages, BuildConsole& console);
PipResult install_with_pip(const PipInstall& part, const std::vector<LockedPackage>* wanted, BuildConsole& console);

}  // namespace runner::envs
