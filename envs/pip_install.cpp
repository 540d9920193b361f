#include "envs/pip_install.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "envs/conda_channel.hpp"
#include "envs/credentials.hpp"
#include "envs/pip_files.hpp"
#include "envs/site_packages.hpp"
#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

// They install elsewhere, install something else, or change what is printed.
constexpr std::array<std::string_view, 22> kMisleading{
    "PIP_TARGET",  "PIP_PREFIX",   "PIP_ROOT",       "PIP_USER",        "PIP_EDITABLE", "PIP_REQUIREMENT",
    "PIP_REPORT",  "PIP_PYTHON",   "PIP_DRY_RUN",    "PIP_LOG",         "PIP_QUIET",    "PIP_VERBOSE",
    "UV_PYTHON",   "UV_TARGET",    "UV_PREFIX",      "UV_PROJECT",      "UV_OFFLINE",   "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV", "CONDA_PREFIX", "UV_WORKING_DIR", "UV_OUTPUT_FORMAT"};

// They change which packages are installed, while the environment is known by its specification alone. What an index
// is called and how it is reached is the machine's.
struct SolutionSetting {
  std::string_view name;
  std::string_view instead;  // what belongs into the requirements file
};
constexpr std::array<SolutionSetting, 42> kSolution{{
    {"PIP_CONSTRAINT", "`-c FILE`"},
    {"PIP_NO_BINARY", "`--no-binary PACKAGES`"},
    {"PIP_ONLY_BINARY", "`--only-binary PACKAGES`"},
    {"PIP_PREFER_BINARY", "`--prefer-binary`"},
    {"PIP_PRE", "`--pre`"},
    {"PIP_REQUIRE_HASHES", "`--require-hashes`"},
    {"PIP_NO_DEPS", ""},
    {"PIP_NO_DEPENDENCIES", ""},
    {"PIP_BUILD_CONSTRAINT", ""},
    {"PIP_UPLOADED_PRIOR_TO", ""},
    {"PIP_UPGRADE", ""},
    {"PIP_UPGRADE_STRATEGY", ""},
    {"PIP_IGNORE_INSTALLED", ""},
    {"PIP_FORCE_REINSTALL", ""},
    {"PIP_IGNORE_REQUIRES_PYTHON", ""},
    {"PIP_PLATFORM", ""},
    {"PIP_PYTHON_VERSION", ""},
    {"PIP_IMPLEMENTATION", ""},
    {"PIP_ABI", ""},
    {"PIP_GLOBAL_OPTION", ""},
    {"PIP_CONFIG_SETTINGS", ""},
    {"UV_CONSTRAINT", "`-c FILE`"},
    {"UV_PRERELEASE", "`--pre`"},
    {"UV_NO_BINARY", "`--no-binary :all:`"},
    {"UV_NO_BUILD", "`--only-binary :all:`"},
    {"UV_NO_BINARY_PACKAGE", "`--no-binary PACKAGES`"},
    {"UV_NO_BUILD_PACKAGE", "`--only-binary PACKAGES`"},
    {"UV_REQUIRE_HASHES", "`--require-hashes`"},
    {"UV_BUILD_CONSTRAINT", ""},
    {"UV_OVERRIDE", ""},
    {"UV_EXCLUDE", ""},
    {"UV_EXCLUDE_NEWER", ""},
    {"UV_EXCLUDE_NEWER_PACKAGE", ""},
    {"UV_RESOLUTION", ""},
    {"UV_FORK_STRATEGY", ""},
    {"UV_NO_SOURCES", ""},
    {"UV_NO_SOURCES_PACKAGE", ""},
    {"UV_TORCH_BACKEND", ""},
    {"UV_NO_DEPS", ""},
    {"UV_UPGRADE", ""},
    {"UV_REINSTALL", ""},
    {"UV_CONFIG_SETTINGS", ""},
}};

// pip reads its variables in any case and with '-' for '_'.
std::string canonical(std::string_view name) {
  std::string upper(name);
  if (!name.starts_with("PIP_")) return upper;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return upper;
}

bool is_misleading(std::string_view name) {
  return std::find(kMisleading.begin(), kMisleading.end(), canonical(name)) != kMisleading.end();
}

const SolutionSetting* solution_setting(std::string_view name) {
  const auto found = std::find_if(kSolution.begin(), kSolution.end(),
                                  [wanted = canonical(name)](const auto& one) { return one.name == wanted; });
  return found == kSolution.end() ? nullptr : &*found;
}

// A line for each of the caller's settings that the tool would have heeded.
std::vector<std::string> unused_settings(const BuildSettings& settings, std::string_view prefix) {
  std::vector<std::string> warnings;
  for (const auto& [name, value] : settings.variables) {
    const SolutionSetting* setting = solution_setting(name);
    const bool off = value.empty() || value == "0" || value == "false" || value == "no" || value == "off";
    if (setting == nullptr || off || !setting->name.starts_with(prefix)) continue;
    warnings.push_back(name + " is set and was not used: " +
                       (setting->instead.empty()
                            ? "an environment is what its file says"
                            : "put " + std::string(setting->instead) + " into the requirements file"));
  }
  return warnings;
}

// Settings that nothing here overrides may send packages elsewhere; an environment without them is none.
void require_installed(const PipInstall& part, const std::vector<LockedPackage>& packages, bool with_uv) {
  const auto installed = installed_distributions(part.prefix);
  std::string missing;
  for (const LockedPackage& package : packages)
    if (!installed.contains(package.name)) missing += (missing.empty() ? "" : ", ") + package.name;
  if (missing.empty()) return;
  if (with_uv)
    throw Error(ErrorCode::kInvalid, missing + ": uv installed them somewhere else, not into the environment",
                "no target and no prefix may be set in uv.toml or UV_CONFIG_FILE");
  throw Error(ErrorCode::kInvalid, missing + ": pip installed them somewhere else, not into the environment",
              "see `pip config list`: no target, prefix or root may be set in PIP_CONFIG_FILE");
}

bool is_program(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) || ::access(path.c_str(), X_OK) != 0) return false;
  const os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4> magic{};
  return fd && ::read(fd.get(), magic.data(), magic.size()) == 4 && std::string_view(magic.data(), 4) == "\177ELF";
}

// Of each URL in a list of them.
void add_secrets_of(std::vector<std::string>& secrets, std::string_view urls) {
  while (!urls.empty()) {
    const auto end = std::min(urls.find_first_of(" \t\n,"), urls.size());
    add_secrets(secrets, secrets_in(urls.substr(0, end)));
    urls.remove_prefix(std::min(end + 1, urls.size()));
  }
}

bool holds_urls(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return upper.ends_with("_PROXY") ||
         ((upper.starts_with("PIP_") || upper.starts_with("UV_")) &&
          (upper.find("INDEX") != std::string::npos || upper.ends_with("_LINKS") || upper.ends_with("PROXY")));
}

}  // namespace

std::optional<fs::path> find_uv(const std::map<std::string, std::string>& variables) {
  const auto path = variables.find("PATH");
  std::string_view rest = path == variables.end() ? std::string_view() : std::string_view(path->second);
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const fs::path program = fs::path(rest.substr(0, end)) / "uv";
    if (program.is_absolute() && is_program(program)) return program;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

std::map<std::string, std::string> pip_variables(const BuildSettings& settings, const fs::path& scratch) {
  std::map<std::string, std::string> variables;
  for (const auto& [name, value] : settings.variables)
    if (!name.starts_with("PYTHON") && !is_misleading(name) && solution_setting(name) == nullptr)
      variables.emplace(name, value);
  const auto set = [&](const char* name, const std::string& value) { variables[name] = value; };
  set("TMPDIR", scratch.string());  // what a stopped build leaves there goes with it
  set("PYTHONNOUSERSITE", "1");
  set("PYTHONUNBUFFERED", "1");
  set("PYTHONIOENCODING", "utf-8");
  set("PIP_USER", "0");
  set("PIP_DISABLE_PIP_VERSION_CHECK", "1");
  set("PIP_NO_INPUT", "1");
  set("PIP_NO_COLOR", "1");
  set("PIP_ROOT_USER_ACTION", "ignore");
  set("PIP_BREAK_SYSTEM_PACKAGES", "1");  // the prefix is ours
  set("UV_BREAK_SYSTEM_PACKAGES", "1");
  set("UV_NO_PROGRESS", "1");
  set("UV_PYTHON_DOWNLOADS", "never");
  set("UV_PREVIEW_FEATURES", "pylock");
  set("NO_COLOR", "1");
  return variables;
}

std::vector<std::string> pip_secrets(const Specification& specification, const BuildSettings& settings) {
  std::vector<std::string> secrets;
  // A path may have a "/t/" of its own where it is no channel's.
  for (const auto& [url, full] : settings.credentials)
    add_secrets(secrets, without_credentials(full).url == url ? secrets_in(full) : channel_secrets(full));
  for (const auto* list : {&specification.pip, &specification.pip_options, &specification.constraints})
    for (const std::string& text : *list) {
      const std::string url = text.starts_with("--") ? pip_option(text).value : url_of_requirement(text);
      if (url.find("${") != std::string::npos) add_secrets(secrets, secrets_in(expanded(url, settings.variables)));
    }
  for (const auto* list : {&specification.channels, &specification.conda})
    for (const std::string& text : *list)
      with_changed_urls(text, [&](const std::string& url) {
        if (url.find("${") != std::string::npos)
          add_secrets(secrets, channel_secrets(expanded(url, settings.variables)));
        return url;
      });
  for (const auto& [name, value] : settings.variables) {
    if (holds_urls(name)) add_secrets_of(secrets, value);
    if (name.starts_with("UV_INDEX_") && name.ends_with("_PASSWORD")) add_secrets(secrets, {value});
  }
  return secrets;
}

PipResult install_pip(const PipInstall& part, BuildConsole& console) {
  std::vector<LockedPackage> wanted;
  if (part.lock)
    std::copy_if(part.lock->packages.begin(), part.lock->packages.end(), std::back_inserter(wanted),
                 [](const LockedPackage& package) { return package.manager == "pip"; });
  if (part.lock ? wanted.empty() : part.specification.pip.empty()) return {};
  if (!part.lock) check_local_files(part.specification);
  const auto* exactly = part.lock ? &wanted : nullptr;
  const auto uv = part.inside ? std::nullopt : find_uv(part.settings.variables);
  PipResult result = uv ? install_with_uv(*uv, part, exactly, console) : install_with_pip(part, exactly, console);
  require_installed(part, result.packages, uv.has_value());
  forget_credentials(part.prefix);
  if (!part.lock)
    for (std::string& warning : unused_settings(part.settings, uv ? "UV_" : "PIP_"))
      result.warnings.push_back(std::move(warning));
  return result;
}

}  // namespace runner::envs
