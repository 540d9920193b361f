#include "runner/pipeline/script_command.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <span>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/init_protocol.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

constexpr const char* kSystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// "#!/usr/bin/env python3 -u" → {"/usr/bin/env", "python3 -u"}: as the kernel splits it, at most one argument.
std::vector<std::string> interpreter_line(std::string_view text) {
  text = text.substr(0, kHeadBytes);
  if (!text.starts_with("#!")) return {};
  std::string line(text.substr(2, text.find('\n') - 2));
  const auto trim = [](std::string& s) {
    s.erase(0, s.find_first_not_of(" \t"));
    s.erase(s.find_last_not_of(" \t\r") + 1);
  };
  trim(line);
  const auto blank = line.find_first_of(" \t");
  std::vector<std::string> parts{line.substr(0, blank)};
  if (blank != std::string::npos) {
    parts.push_back(line.substr(blank));
    trim(parts.back());
  }
  if (parts.front().empty()) return {};
  return parts;
}

bool is_within(const std::filesystem::path& path, const std::filesystem::path& ancestor) {
  auto inner = path.begin();
  for (auto outer = ancestor.begin(); outer != ancestor.end(); ++outer, ++inner)
    if (inner == path.end() || *inner != *outer) return false;
  return true;
}

}  // namespace

std::string source_head(const RunDefinition& definition) {
  std::string head(kHeadBytes, '\0');
  const os::Fd fd = os::open_file(std::filesystem::path(definition.source_directory) / definition.script, O_RDONLY);
  const ssize_t got = ::read(fd.get(), head.data(), head.size());
  head.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return head;
}

std::string frozen_head(const ContentReader& content, const Hash& snapshot, const RunDefinition& definition) {
  const auto entry = snapshot::follow_entry(content, snapshot, definition.source_directory, definition.script);
  if (!entry || entry->type == snapshot::EntryType::kDirectory)
    return source_head(definition);  // a link that leads out of the snapshot
  std::string head;
  content.read(entry->content, 0, kHeadBytes, [&head](std::span<const std::byte> piece) {
    head.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return head;
}

StartCommand start_command(const RunDefinition& definition, const std::string& interpreter, const ScriptHead& head) {
  const bool in_image = !definition.image.empty();
  if (!definition.command.empty()) return {.arguments = definition.command};
  const std::filesystem::path script = definition.script;
  StartCommand command;
  if (script.extension() == ".py") {
    if (in_image && definition.image_interpreter.empty())
      command.candidates = {"python3", "python"};
    else if (in_image)
      command.candidates = {definition.image_interpreter};
    else if (!interpreter.empty())
      command.arguments = {interpreter};
    else
      throw Error(ErrorCode::kUnavailable, definition.script + ": no Python interpreter",
                  "install python3 or use --python");
  } else if (script.extension() == ".sh") {
    if (in_image)
      command.candidates = {"sh"};
    else
      command.arguments = {"/bin/sh"};
  } else {
    command.arguments = interpreter_line(head());
    if (command.arguments.empty())
      throw Error(ErrorCode::kInvalid,
                  definition.script + ": neither .py nor .sh, and no \"#!\" line says what runs it",
                  "add a first line such as #!/usr/bin/env python3, or use --command");
  }
  // "-c.py" would be an option to its interpreter.
  command.arguments.push_back(definition.script.starts_with('-') ? "./" + definition.script : definition.script);
  command.arguments.insert(command.arguments.end(), definition.arguments.begin(), definition.arguments.end());
  return command;
}

Account own_account() {
  Account account{.user = std::to_string(::getuid()), .home = "/home/user"};
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found) {
    account.user = found->pw_name;
    account.home = found->pw_dir;
  }
  if (account.home.size() < 2 || account.home.front() != '/') account.home = "/home/user";
  return account;
}

std::map<std::string, std::string> script_variables(const RunRecord& run, const Account& account,
                                                    const std::map<std::string, std::string>& image) {
  std::map<std::string, std::string> variables{
      {"LANG", "C.UTF-8"},         {"PATH", kSystemPath}, {"HOME", account.home}, {"USER", account.user},
      {"LOGNAME", account.user},   {"SHELL", "/bin/sh"},  {"TERM", "dumb"},       {"PYTHONUNBUFFERED", "1"},
      {"PYTHONFAULTHANDLER", "1"},  // a crash and a time limit show where the script was
  };
  if (!run.definition.image.empty()) variables.erase("PATH");  // the image's own, or what the Engine puts there
  for (const auto& [key, value] : image)
    if (key != "HOME" && key != "USER" && key != "LOGNAME") variables[key] = value;
  for (const auto& [key, value] : run.definition.caller_variables) variables[key] = value;
  if (run.definition.image.empty() && !run.environment.interpreter.empty()) {
    const std::filesystem::path bin = std::filesystem::path(run.environment.interpreter).parent_path();
    variables["PATH"] = bin.string() + ":" + kSystemPath;
    if (std::filesystem::exists(bin.parent_path() / "pyvenv.cfg"))
      variables["VIRTUAL_ENV"] = bin.parent_path().string();
    if (std::filesystem::exists(bin.parent_path() / "conda-meta"))
      variables["CONDA_PREFIX"] = bin.parent_path().string();
  }
  for (const auto& [key, value] : run.definition.environment_variables) variables[key] = value;
  // Behind the user's own entries: a project's module or path wins over ours.
  std::string& python_path = variables["PYTHONPATH"];
  if (!python_path.empty()) python_path += ':';
  python_path += kPythonPackagePath;
  variables["RUNNER_RUN_ID"] = run.id;
  variables["RUNNER_ATTEMPT"] = std::to_string(run.attempt);
  variables["RUNNER_EXPERIMENT"] = run.experiment;
  variables["RUNNER_METRICS"] = "/run/runner/metrics.jsonseq";
  variables["RUNNER_SOCKET"] = kRunSocketPath;
  variables[shim::kTokenVariable] = "";  // runner-init fills it in: what is here is written down
  variables["AZUREML_RUN_ID"] = run.id;
  variables["AZUREML_ARM_PROJECT_NAME"] = run.experiment;
  return variables;
}

std::string working_directory_for(const std::string& source_directory, const std::string& home) {
  constexpr const char* kElsewhere = "/work";
  // Mounted over, these would leave nothing to run with; the first group must not be covered, the second not be
  // entered.
  const std::array<std::filesystem::path, 18> needed{home,
                                                     "/usr",
                                                     "/etc",
                                                     "/bin",
                                                     "/sbin",
                                                     "/lib",
                                                     "/lib64",
                                                     "/lib32",
                                                     "/opt",
                                                     "/tmp",
                                                     "/run/runner",
                                                     "/run/runner-api",
                                                     "/run/runner-init",
                                                     "/run/runner-python",
                                                     "/proc",
                                                     "/sys",
                                                     "/dev",
                                                     "/var/tmp"};
  const std::filesystem::path source = source_directory;
  for (const auto& path : needed)
    if (is_within(path, source)) return kElsewhere;
  for (const char* path : {"/proc", "/sys", "/dev", "/run/runner", "/run/runner-api", "/run/runner-python"})
    if (is_within(source, path)) return kElsewhere;
  return source_directory;
}

}  // namespace runner::pipeline
