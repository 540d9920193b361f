// The client makes the prefix, pip adds its sublist, then everything is looked up in the prefix itself: the lock holds
// what is there, not what was planned.
#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "envs/build_lock.hpp"
#include "envs/builders.hpp"
#include "envs/conda_channel.hpp"
#include "envs/conda_client.hpp"
#include "envs/conda_commands.hpp"
#include "envs/conda_prefix.hpp"
#include "envs/pip_install.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

// What rattler_client.py ends with.
constexpr int kNoSolution = 3;
constexpr int kNotToBeHad = 4;
constexpr int kWrongHash = 5;

struct Outcome {
  int status = 0;
  std::string why{};  // what the client said of it, several lines
  bool no_network = false;
};

bool says_no_network(std::string_view line) {
  constexpr std::array<std::string_view, 7> kWords{"CondaHTTPError",       "Could not resolve", "resolve host",
                                                   "onnection refused",    "onnection failed",  "timed out",
                                                   "etwork is unreachable"};
  return std::any_of(kWords.begin(), kWords.end(), [&](std::string_view word) { return line.find(word) != line.npos; });
}

class CondaBuild {
 public:
  CondaBuild(const BuildRequest& request, const CondaPrefixOptions& options, BuildConsole& console)
      : request_(request), options_(options), console_(console) {}

  BuildResult run() {
    CondaCommand command = first_command();
    make_prefix(command);
    scrub(command.credentials);
    BuildResult result;
    result.lock.packages = conda_packages(request_.prefix);
    if (!command.packages.empty()) require_locked(result.lock.packages, command.packages);
    note_python(result);
    install_sublist(result);
    console_.step("activation");
    result.variables = conda_activation(request_.prefix, inside());
    std::sort(result.lock.packages.begin(), result.lock.packages.end(),
              [](const auto& a, const auto& b) { return std::tie(a.manager, a.name) < std::tie(b.manager, b.name); });
    if (!options_.link_scripts && command.client.flavour != CondaFlavour::kPyRattler &&
        command.client.flavour != CondaFlavour::kRattler)
      result.warnings.push_back(command.client.name + " ran the packages' post-link scripts on this machine");
    return result;
  }

 private:
  CondaCommand first_command() {
    const BuildSettings& settings = request_.settings;
    CondaCommand command{.client = find_conda_client(settings, console_),
                         .prefix = request_.prefix,
                         .cache = settings.tools / "conda-cache",
                         .scratch = console_.scratch(),
                         .channels = request_.specification.channels,
                         .specs = request_.specification.conda,
                         .credentials = settings.credentials,
                         .virtual_packages = options_.virtual_packages,
                         .variables = tool_variables(settings),
                         .link_scripts = options_.link_scripts};
    const auto resolve = [&](const std::string& url) { return resolved(url, command.credentials); };
    for (std::string& channel : command.channels) channel = resolve(channel);
    for (std::string& spec : command.specs) spec = with_changed_urls(spec, resolve);
    if (request_.lock)
      std::copy_if(request_.lock->packages.begin(), request_.lock->packages.end(), std::back_inserter(command.packages),
                   [](const LockedPackage& package) { return package.manager == "conda"; });
    for (const LockedPackage& package : command.packages)
      if (package.url.empty())
        throw Error(ErrorCode::kInvalid,
                    "the lock does not say where " + package.name + " " + package.version + " came from",
                    "build it anew with --rebuild");
    return command;
  }

  // ${VARIABLES} of a URL, which are most often a password, are the caller's; records have the URL without it.
  std::string resolved(const std::string& url, std::map<std::string, std::string>& credentials) const {
    if (url.find("${") == std::string::npos) return url;
    const std::string secret = with_variables(url, request_.settings.variables);
    std::string stripped = without_channel_credentials(secret).url;
    if (stripped != secret) credentials[stripped] = secret;
    return stripped;
  }

  // Caches first where a lock says what is wanted; the network first where the newest is wanted. rattler and py-rattler
  // fetch only what they do not have: one call does.
  void make_prefix(CondaCommand& command) {
    os::make_directories(command.cache);
    const BuildLock lock(command.cache / ".lock", "the conda package cache", console_);
    const std::size_t count = command.packages.empty() ? command.specs.size() : command.packages.size();
    console_.step(command.client.name + ": " + std::to_string(count) +
                  (command.packages.empty() ? " packages asked for" : " locked packages"));
    const bool is_rattler =
        command.client.flavour == CondaFlavour::kRattler || command.client.flavour == CondaFlavour::kPyRattler;
    Outcome outcome;
    if (is_rattler || command.packages.empty()) {
      outcome = attempt(command);
      if (outcome.status != 0 && outcome.no_network && !is_rattler) {
        console_.write("no network: trying with what is in the caches\n");
        outcome = attempt_offline(command, outcome);
      }
    } else if (outcome = attempt_offline(command, {}); outcome.status != 0) {
      os::remove_tree(request_.prefix);
      outcome = attempt(command);
    }
    if (outcome.status != 0) fail(command, outcome);
  }

  Outcome attempt_offline(CondaCommand command, const Outcome& before) {
    os::remove_tree(request_.prefix);
    command.offline = true;
    Outcome outcome = attempt(command);
    // What is missing offline is a consequence; what the network said is the cause.
    return outcome.status != 0 && before.status != 0 ? before : outcome;
  }

  Outcome attempt(const CondaCommand& command) {
    Outcome outcome;
    bool in_error = false;
    outcome.status = console_.run(conda_tool(command), [&](std::string_view line) {
      outcome.no_network = outcome.no_network || says_no_network(line);
      constexpr std::string_view kMark = "error: ";
      if (in_error) outcome.why += "\n" + std::string(line);
      if (!in_error && line.starts_with(kMark) && command.client.flavour == CondaFlavour::kPyRattler) {
        in_error = true;
        outcome.why = line.substr(kMark.size());
      }
      if (!in_error && line.find_first_not_of(" \t") != line.npos) console_.progress(std::string(line));
    });
    if (outcome.status != 0 && outcome.why.empty())
      outcome.why = console_.failure(command.client.name, outcome.status).message();
    return outcome;
  }

  [[noreturn]] void fail(const CondaCommand& command, const Outcome& outcome) const {
    const std::string why = outcome.why.substr(0, outcome.why.find_last_not_of(" \n") + 1);
    const Error said = console_.failure(command.client.name, outcome.status);
    if (said.code() == ErrorCode::kNoSpace || why.find("No space left on device") != why.npos)
      throw Error(ErrorCode::kNoSpace, "no space for the conda packages: " + why,
                  "runner gc frees unused environments");
    if (command.client.flavour == CondaFlavour::kPyRattler) {
      if (outcome.status == kNoSolution)
        throw Error(ErrorCode::kInvalid, "the conda packages cannot be had together: " + why,
                    "change the versions or the channels");
      if (outcome.status == kNotToBeHad)
        throw Error(ErrorCode::kUnavailable, "a conda package or channel cannot be had: " + why,
                    "it is neither cached nor does its channel answer");
      if (outcome.status == kWrongHash)
        throw Error(ErrorCode::kInvalid, "a conda package is not the one that was asked for: " + why);
    }
    if (outcome.no_network)
      throw Error(ErrorCode::kUnavailable, why, "it is neither cached nor does its channel answer");
    throw Error(ErrorCode::kInvalid, why);
  }

  // conda-meta lies in the prefix, which runs can read: no credentials in it.
  void scrub(const std::map<std::string, std::string>& credentials) const {
    if (credentials.empty()) return;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(request_.prefix / "conda-meta", error)) {
      if (!entry.is_regular_file()) continue;
      std::string text = os::read_file(entry.path());
      bool changed = false;
      for (const auto& [url, secret] : credentials)
        for (auto at = text.find(secret); !secret.empty() && at != std::string::npos;
             at = text.find(secret, at + url.size())) {
          text.replace(at, secret.size(), url);
          changed = true;
        }
      if (changed) os::publish_file(entry.path(), text, os::Durability::kAtomic, 0644);
    }
  }

  static void require_locked(const std::vector<LockedPackage>& there, const std::vector<LockedPackage>& wanted) {
    for (const LockedPackage& package : wanted) {
      const auto found =
          std::find_if(there.begin(), there.end(), [&](const auto& one) { return one.name == package.name; });
      const auto describe = [](const LockedPackage& one) { return one.name + " " + one.version + " " + one.build; };
      if (found == there.end() || found->version != package.version || found->build != package.build)
        throw Error(ErrorCode::kInvalid, "the lock asks for " + describe(package) + ", the client installed " +
                                             (found == there.end() ? "none" : describe(*found)));
      const bool comparable =
          found->hash.substr(0, found->hash.find(':')) == package.hash.substr(0, package.hash.find(':'));
      if (comparable && found->hash != package.hash)
        throw Error(ErrorCode::kInvalid, describe(package) + " is another file than the one locked: " + found->hash +
                                             ", expected " + package.hash);
    }
  }

  void note_python(BuildResult& result) const {
    const fs::path python = request_.prefix / "bin/python";
    std::error_code ignored;
    if (fs::exists(python, ignored)) result.interpreter = python;
    for (const LockedPackage& package : result.lock.packages)
      if (package.name == "python") result.lock.python_version = package.version;
  }

  void install_sublist(BuildResult& result) {
    if (request_.specification.pip.empty()) return;
    if (result.interpreter.empty())
      throw Error(ErrorCode::kInvalid, "a pip list, but no Python in the environment",
                  "add python to the dependencies");
    PipResult pip = install_pip({.specification = request_.specification,
                                 .lock = request_.lock,
                                 .prefix = request_.prefix,
                                 .settings = request_.settings,
                                 .shared = true,
                                 .inside = options_.inside},
                                console_);
    std::move(pip.packages.begin(), pip.packages.end(), std::back_inserter(result.lock.packages));
    std::move(pip.warnings.begin(), pip.warnings.end(), std::back_inserter(result.warnings));
  }

  RunTool inside() const {
    if (options_.inside) return options_.inside;
    return [this](const Tool& tool, const std::function<void(std::string_view)>& on_line, std::string* out) {
      return out == nullptr ? console_.run(tool, on_line) : console_.capture(tool, *out);
    };
  }

  const BuildRequest& request_;
  const CondaPrefixOptions& options_;
  BuildConsole& console_;
};

}  // namespace

BuildResult build_conda_prefix(const BuildRequest& request, const CondaPrefixOptions& options, BuildConsole& console) {
  return CondaBuild(request, options, console).run();
}

BuildResult build_conda(const BuildRequest& request, BuildConsole& console) {
  return build_conda_prefix(request, {}, console);
}

}  // namespace runner::envs
