#include "envs/conda_client.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "envs/build_lock.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHint =
    "install micromamba, or name a client with `conda = \"PATH\"` in config.toml, or let this machine reach the Python "
    "package index once";
// py-rattler's own requirement; ensurepip is a package of its own on Debian.
constexpr const char* kCanHost = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

std::string variable(const BuildSettings& settings, const std::string& name) {
  const auto found = settings.variables.find(name);
  return found == settings.variables.end() ? std::string() : found->second;
}

std::string first_line(const std::string& text) {
  const auto begin = text.find_first_not_of(" \r\n\t");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_first_of("\r\n", begin) - begin);
}

std::optional<CondaFlavour> flavour_of(const std::string& name) {
  if (name.starts_with("micromamba")) return CondaFlavour::kMicromamba;
  if (name.starts_with("mamba")) return CondaFlavour::kMamba;
  if (name.starts_with("conda")) return CondaFlavour::kConda;
  if (name.starts_with("rattler") && !name.starts_with("rattler-")) return CondaFlavour::kRattler;
  return std::nullopt;
}

// "conda 23.11.0", "2.0.5" (micromamba): the number after the last blank of the line.
int major_of(const std::string& version) {
  int major = 0;
  const auto digits = version.find_last_of(' ') + 1;  // npos + 1 is 0
  std::from_chars(version.data() + digits, version.data() + version.size(), major);
  return major;
}

// Asks it for its version; nothing where it does not start or does not say one.
std::optional<CondaClient> started(const fs::path& program, const BuildSettings& settings, BuildConsole& console) {
  std::string said;
  const Tool tool{.name = program.filename(),
                  .arguments = {program, "--version"},
                  .variables = tool_variables(settings),
                  .directory = {}};
  if (console.capture(tool, said) != 0) return std::nullopt;
  const std::string version = first_line(said);
  if (version.empty()) return std::nullopt;
  auto flavour = flavour_of(program.filename());
  if (!flavour) flavour = flavour_of(version);
  if (!flavour) return std::nullopt;
  const std::string name =
      version.find(' ') == std::string::npos ? program.filename().string() + " " + version : version;
  return CondaClient{.flavour = *flavour, .program = program, .name = name, .major = major_of(version)};
}

CondaClient configured(const BuildSettings& settings, BuildConsole& console) {
  const std::string& asked = settings.conda_client;
  const auto refuse = [&](const std::string& why) {
    return Error(ErrorCode::kInvalid, "config.toml: conda = \"" + asked + "\": " + why,
                 "name micromamba, mamba, conda or rattler, or remove the line: the first on PATH is taken");
  };
  std::optional<fs::path> program;
  if (asked.find('/') == std::string::npos)
    program = os::find_program(asked, variable(settings, "PATH"));
  else if (fs::path(asked).is_relative())
    throw refuse("not an absolute path");
  else
    program = asked;
  std::error_code ignored;
  if (!program) throw refuse("no such program on PATH");
  if (!fs::exists(*program, ignored)) throw refuse("no such file");
  if (!fs::is_regular_file(*program, ignored) || ::access(program->c_str(), X_OK) != 0) throw refuse("not executable");
  std::optional<CondaClient> client;
  try {
    client = started(*program, settings, console);
  } catch (const Error& error) {
    console.check();  // a build that nobody wants is no broken client
    throw refuse("does not start: " + error.message());
  }
  if (!client) throw refuse("does not start, or is none of micromamba, mamba, conda and rattler");
  return *client;
}

// --- py-rattler
// -----------------------------------------------------------------------------------------------------------

bool is_complete(const fs::path& environment) {
  std::error_code ignored;
  return fs::exists(environment / ".complete", ignored) && ::access((environment / "bin/python").c_str(), X_OK) == 0;
}

[[noreturn]] void no_client(const std::string& why) {
  throw Error(ErrorCode::kUnavailable,
              "no conda client: none of micromamba, mamba, conda, rattler on PATH, and py-rattler " +
                  std::string(kPyRattlerVersion) + " cannot be installed: " + why,
              kHint);
}

// A Python that can make virtual environments and is new enough.
std::optional<fs::path> host_python(const BuildSettings& settings, BuildConsole& console) {
  const std::string path = variable(settings, "PATH") + ":/usr/bin:/usr/local/bin";
  for (const char* name : {"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"}) {
    const auto program = os::find_program(name, path);
    if (!program) continue;
    std::string ignored;
    const Tool tool{.name = name,
                    .arguments = {*program, "-I", "-c", kCanHost},
                    .variables = tool_variables(settings),
                    .directory = {}};
    if (console.capture(tool, ignored) == 0) return program;
  }
  return std::nullopt;
}

// With pip, or with uv where no Python can host it. In place: a virtual environment knows its own path.
void install(const fs::path& environment, const BuildSettings& settings, BuildConsole& console) {
  const std::string package = std::string("py-rattler==") + kPyRattlerVersion;
  auto variables = tool_variables(settings);
  const auto run = [&](const std::string& name, const std::vector<std::string>& arguments) {
    const int status = console.run({.name = name, .arguments = arguments, .variables = variables, .directory = {}},
                                   [&](std::string_view line) { console.progress(std::string(line)); });
    if (status != 0) no_client(console.failure(name, status).message());
  };
  const std::string python = environment / "bin/python";
  if (const auto host = host_python(settings, console)) {
    run("venv", {*host, "-I", "-m", "venv", environment});
    run("pip", {python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", package});
  } else if (const auto uv = os::find_program("uv", variable(settings, "PATH"))) {
    run("uv", {*uv, "venv", "--no-project", "--python", ">=3.10", environment});
    run("uv", {*uv, "pip", "install", "--python", python, package});
  } else {
    no_client("no Python 3.10 or newer with venv and ensurepip (Debian: python3-venv), and no uv");
  }
}

CondaClient py_rattler(const BuildSettings& settings, BuildConsole& console) {
  const fs::path environment = settings.tools / (std::string("py-rattler-") + kPyRattlerVersion);
  const CondaClient client{.flavour = CondaFlavour::kPyRattler,
                           .program = environment / "bin/python",
                           .name = std::string("py-rattler ") + kPyRattlerVersion,
                           .major = 0};
  if (is_complete(environment)) return client;
  os::make_directories(settings.tools);
  const BuildLock lock(environment.string() + ".lock", "the installation of py-rattler", console);
  if (is_complete(environment)) return client;
  console.step("installing " + client.name + ": there is no conda client on PATH");
  os::remove_tree(environment);  // what a killed installation has left
  install(environment, settings, console);
  os::publish_file(environment / ".complete", client.name + "\n", os::Durability::kDurable);
  return client;
}

}  // namespace

std::map<std::string, std::string> tool_variables(const BuildSettings& settings) {
  constexpr std::array<std::string_view, 5> kActive{"VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "PS1",
                                                    "PIP_USER"};
  std::map<std::string, std::string> variables;
  for (const auto& [name, value] : settings.variables) {
    const bool active = std::find(kActive.begin(), kActive.end(), name) != kActive.end();
    if (!active && !name.starts_with("PYTHON") && !name.starts_with("CONDA_PREFIX") && name != "PIP_TARGET" &&
        name != "PIP_PREFIX" && name != "PIP_REQUIRE_VIRTUALENV")
      variables.emplace(name, value);
  }
  variables["NO_COLOR"] = "1";
  return variables;
}

CondaClient find_conda_client(const BuildSettings& settings, BuildConsole& console) {
  if (settings.conda_client == "py-rattler") return py_rattler(settings, console);
  if (!settings.conda_client.empty()) return configured(settings, console);
  for (const char* name : {"micromamba", "mamba", "conda", "rattler"}) {
    const auto program = os::find_program(name, variable(settings, "PATH"));
    if (!program) continue;
    try {
      if (auto client = started(*program, settings, console)) return *client;
    } catch (const Error&) {
      console.check();
    }
    console.write(program->string() + ": does not start, the next one is tried\n");  // a shim without a version, say
  }
  return py_rattler(settings, console);
}

}  // namespace runner::envs
