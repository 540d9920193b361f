#include "envs/pip_files.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "envs/artefact_name.hpp"
#include "envs/digest.hpp"
#include "envs/specification_files.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

bool is_bare_url(std::string_view requirement) {
  return requirement.substr(0, requirement.find_first_of(" @[")).find("://") != std::string_view::npos;
}

// By its pin, with nothing behind it that would make it another version's, or by its file.
bool mentions(const std::string& line, const LockedPackage& package) {
  const std::string pin = package.name + "==" + package.version;
  if (const auto at = line.find(pin); at != std::string::npos) {
    const char next = at + pin.size() < line.size() ? line[at + pin.size()] : ' ';
    if (std::isalnum(static_cast<unsigned char>(next)) == 0 && next != '.') return true;
  }
  const std::string file = file_name_of(package.url);
  return !file.empty() && line.find(file) != std::string::npos;
}

// What stands behind `words` up to one of `ends`; empty: `words` are not in the line.
std::string behind(const std::string& line, std::string_view words, const char* ends) {
  const auto at = line.find(words);
  if (at == std::string::npos) return {};
  const auto begin = at + words.size();
  return line.substr(begin, line.find_first_of(ends, begin) - begin);
}

// What could not be had, by the last line that names something.
std::string unreachable(const std::vector<std::string>& said) {
  for (auto line = said.rbegin(); line != said.rend(); ++line) {
    if (const auto name = behind(*line, "No matching distribution found for ", "\n"); !name.empty()) return name;
    if (const auto name = behind(*line, "satisfies the requirement ", "("); !name.empty())
      return name.substr(0, name.find_last_not_of(' ') + 1);
    for (const char* words : {"Failed to fetch: ", "exceeded with url: ", "unable to access "}) {
      std::string url = behind(*line, words, " ");
      std::erase_if(url, [](char c) { return c == '`' || c == '\''; });
      while (url.ends_with('/') || url.ends_with(':')) url.pop_back();
      if (!url.empty()) return file_name_of(url);
    }
  }
  return "what was asked for";
}

}  // namespace

PipOption pip_option(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return {.name = std::string(text), .value = {}};
  return {.name = std::string(text.substr(0, equals)), .value = std::string(text.substr(equals + 1))};
}

std::string expanded(const std::string& text, const std::map<std::string, std::string>& variables) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto end = text.compare(i, 2, "${") == 0 ? text.find('}', i) : std::string::npos;
    const auto found = end == std::string::npos ? variables.end() : variables.find(text.substr(i + 2, end - i - 2));
    if (found == variables.end() || found->second.empty()) {  // pip leaves an unset one as it stands
      result += text[i++];
      continue;
    }
    result += found->second;
    i = end + 1;
  }
  return result;
}

std::string url_with_credentials(const std::string& url, const BuildSettings& settings) {
  const auto found = settings.credentials.find(url);
  return found == settings.credentials.end() ? url : found->second;
}

std::string name_of_requirement(std::string_view requirement) {
  if (is_bare_url(requirement)) return {};
  return normalised_name(requirement.substr(0, requirement.find_first_of(" [<>=!~;@")));
}

std::string url_of_requirement(std::string_view requirement) {
  const auto at = requirement.find(" @ ");
  if (at == std::string_view::npos && !is_bare_url(requirement)) return {};
  const auto begin = at == std::string_view::npos ? 0 : at + 3;
  return std::string(requirement.substr(begin, requirement.find(' ', begin) - begin));
}

std::string requirement_line(const std::string& requirement, const BuildSettings& settings) {
  const std::string url = url_of_requirement(requirement);
  if (url.empty()) return requirement;
  std::string line = requirement;
  return line.replace(line.find(url), url.size(), url_with_credentials(url, settings));
}

fs::path write_lines(const fs::path& scratch, const std::string& name, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  fs::path file = scratch / name;
  os::publish_file(file, text, os::Durability::kAtomic, 0600);
  return file;
}

void check_local_files(const Specification& specification) {
  for (const auto& [file, digest] : specification.files) {
    std::error_code ignored;
    if (!fs::exists(file, ignored))
      throw Error(ErrorCode::kInvalid, file + ": is gone; the requirements name it",
                  "put it back, or submit again without it");
    if (digest_of_file(file).hex() != digest)
      throw Error(ErrorCode::kInvalid, file + ": has changed since the requirements were read", "submit again");
  }
}

std::string asked_url(const std::string& url, const Specification& specification, const BuildSettings& settings) {
  const auto without_fragment = [](const std::string& one) { return one.substr(0, one.find('#')); };
  if (url.empty()) return {};
  for (const std::string& one : specification.pip) {
    const std::string asked = url_of_requirement(one);
    if (asked.empty()) continue;
    const std::string whole = expanded(url_with_credentials(asked, settings), settings.variables);
    if (without_fragment(without_credentials(whole).url) == without_fragment(url)) return whole;
  }
  return {};
}

std::string locked_requirement(const LockedPackage& package, const Specification& specification,
                               const BuildSettings& settings) {
  if (package.url.find('+') < package.url.find("://"))
    return package.name + " @ " + url_with_credentials(package.url, settings);
  const std::string asked = asked_url(package.url, specification, settings);
  return asked.empty() ? package.name + "==" + package.version : package.name + " @ " + asked;
}

int run_tool(const PipInstall& part, BuildConsole& console, const Tool& tool,
             const std::function<void(std::string_view)>& on_line, std::string* out) {
  if (part.inside) return part.inside(tool, on_line, out);
  return out != nullptr ? console.capture(tool, *out) : console.run(tool, on_line);
}

std::string counted(std::size_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

bool says_no_network(std::string_view line) {
  constexpr std::array<std::string_view, 13> kWords{"NewConnectionError",
                                                    "NameResolutionError",
                                                    "ConnectTimeoutError",
                                                    "ame resolution",
                                                    "Name or service not known",
                                                    "Could not resolve",
                                                    "etwork is unreachable",
                                                    "No route to host",
                                                    "onnection refused",
                                                    "onnection timed out",
                                                    "dns error",
                                                    "client error (Connect)",
                                                    "ProxyError"};
  return std::any_of(kWords.begin(), kWords.end(), [&](auto words) { return line.find(words) != line.npos; });
}

// pip goes on with what other indexes have: then it knows versions, and the network was not the reason.
Error without_network(const std::vector<std::string>& said, const Error& otherwise) {
  constexpr std::string_view kVersions = "(from versions: ";
  const bool knows_some = std::any_of(said.begin(), said.end(), [&](const std::string& line) {
    const auto at = line.find(kVersions);
    return at != std::string::npos && line.compare(at + kVersions.size(), 4, "none") != 0;
  });
  if (otherwise.code() == ErrorCode::kNoSpace || knows_some) return otherwise;
  return Error(ErrorCode::kUnavailable,
               "no network: " + unreachable(said) + " is not in the caches\n" + otherwise.message(),
               "connect to the network, or correct the index's address, and submit again");
}

// What is said last is what it failed for; before that, it also names what it has found.
const LockedPackage* mentioned(const std::vector<LockedPackage>& wanted, const std::vector<std::string>& said) {
  for (auto line = said.rbegin(); line != said.rend(); ++line)
    for (const LockedPackage& package : wanted)
      if (mentions(*line, package)) return &package;
  return nullptr;
}

Error missing_artefact(const std::vector<LockedPackage>& wanted, const std::vector<std::string>& said,
                       const Error& otherwise) {
  if (otherwise.code() == ErrorCode::kNoSpace) return otherwise;
  const LockedPackage* found = mentioned(wanted, said);
  if (found == nullptr) return otherwise.within("installing from the lock");
  const std::string what =
      found->name + " " + found->version + " (" + (found->url.empty() ? "source unknown" : found->url) + ")";
  const bool mismatch = std::any_of(said.begin(), said.end(), [](const std::string& line) {
    return line.find("ash mismatch") != std::string::npos || line.find("DO NOT MATCH THE HASHES") != std::string::npos;
  });
  if (mismatch)
    return Error(ErrorCode::kInvalid,
                 what + ": what is there now is not what was locked (hash mismatch)\n" + otherwise.message(),
                 "--rebuild resolves anew");
  return Error(ErrorCode::kUnavailable, what + ": is in no cache and could not be fetched\n" + otherwise.message(),
               "connect to the network, or resolve anew with --rebuild");
}

}  // namespace runner::envs
