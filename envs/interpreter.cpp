// Finding is split from asking: `locate` follows what a shell would do and starts nothing, `executable_behind` asks
// shims, `InterpreterProbe::resolve` asks the interpreter itself unless the answer is remembered.
#include "envs/interpreter.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "envs/digest.hpp"
#include "envs/probe_cache.hpp"
#include "envs/probe_script.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kHint = "name an interpreter with --python PATH";

// A program that may be a Python, and how the user would name it in an error.
struct Candidate {
  std::string named;  // "--python python3.9"
  fs::path program;   // absolute
};

std::string variable(const Caller& caller, const std::string& name) {
  const auto found = caller.variables.find(name);
  return found == caller.variables.end() ? std::string() : found->second;
}

void check_startable(const Candidate& candidate) {
  std::error_code ignored;
  const auto status = fs::status(candidate.program, ignored);
  const auto invalid = [&](const std::string& why, const std::string& hint) {
    return Error(ErrorCode::kInvalid, candidate.named + ": " + why, hint);
  };
  if (fs::is_directory(status)) {
    const auto inside = candidate.program / "bin" / "python";
    throw invalid("is a directory", fs::exists(inside, ignored) ? "--python " + inside.string() : kHint);
  }
  if (fs::is_symlink(fs::symlink_status(candidate.program, ignored)) && !fs::exists(status))
    throw invalid("is a link to " + fs::read_symlink(candidate.program).string() + ", which does not exist",
                  "recreate the environment, or " + std::string(kHint));
  if (!fs::exists(status)) throw invalid("no such file", kHint);
  if (!fs::is_regular_file(status)) throw invalid("not a file", kHint);
  if (::access(candidate.program.c_str(), X_OK) != 0)
    throw invalid("not executable", "chmod +x " + candidate.program.string());
}

std::optional<Candidate> in_environment(const std::string& variable_name, const Caller& caller) {
  const std::string prefix = variable(caller, variable_name);
  if (prefix.empty()) return std::nullopt;
  const fs::path bin = caller.directory / prefix / "bin";
  const std::string named = variable_name + "=" + prefix;
  std::error_code ignored;
  for (const char* name : {"python", "python3"})
    if (fs::exists(fs::symlink_status(bin / name, ignored))) return Candidate{.named = named, .program = bin / name};
  // Falling through to another Python would run the script without its packages.
  throw Error(ErrorCode::kInvalid, named + ": the active environment has no bin/python",
              "leave it (deactivate) or activate another one, or " + std::string(kHint));
}

Candidate locate(const std::optional<std::string>& python, const Caller& caller) {
  if (python) {
    const std::string named = "--python " + *python;
    if (python->empty()) throw Error(ErrorCode::kInvalid, "--python: empty", kHint);
    if (python->find('/') != std::string::npos)
      return {.named = named, .program = (caller.directory / *python).lexically_normal()};
    if (const auto found = os::find_program(*python, variable(caller, "PATH")))
      return {.named = named, .program = *found};
    throw Error(ErrorCode::kInvalid, named + ": no such program on PATH", kHint);
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (auto found = in_environment(name, caller)) return *found;
  if (const auto found = os::find_program("python3", variable(caller, "PATH")))
    return {.named = "python3 on PATH (" + found->string() + ")", .program = *found};
  throw Error(ErrorCode::kUnavailable, "no Python: no active environment and no python3 on PATH",
              "install python3, or " + std::string(kHint));
}

// A compiled program called python* or pypy* is an interpreter. Scripts (pyenv, asdf) and compiled dispatchers behind a
// link (mise) are not: what they start depends on the directory and the variables.
bool is_real_interpreter(const fs::path& program) {
  const os::Fd fd = os::open_file(program, O_RDONLY);
  std::array<char, 4> magic{};
  if (::read(fd.get(), magic.data(), magic.size()) != 4 || std::string_view(magic.data(), 4) != "\177ELF") return false;
  const std::string name = fs::canonical(program).filename();
  return name.starts_with("python") || name.starts_with("pypy") || name.starts_with("graalpy");
}

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  const auto begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

os::Captured ask(const Candidate& candidate, const os::SpawnRequest& request, std::chrono::milliseconds limit) {
  os::Captured captured;
  try {
    captured = os::capture(request, limit);
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalid, candidate.named + ": does not start as Python: " + error.message(), kHint);
  }
  if (captured.exit_code != 0) {
    const std::string said = last_line(captured.err);
    throw Error(ErrorCode::kInvalid,
                candidate.named + ": does not start as Python (exit code " + std::to_string(captured.exit_code) + ")" +
                    (said.empty() ? "" : ": " + said),
                kHint);
  }
  return captured;
}

// For a shim, the interpreter it would start for this caller.
fs::path executable_behind(const Candidate& candidate, const Caller& caller, std::chrono::milliseconds limit) {
  if (is_real_interpreter(candidate.program)) return candidate.program;
  os::SpawnRequest request;
  request.arguments = {candidate.program, "-I", "-c", kAskExecutable};
  request.directory = caller.directory;
  for (const auto& [name, value] : caller.variables) request.environment.push_back(name + "=" + value);
  fs::path answered = last_line(ask(candidate, request, limit).out);
  if (!answered.is_absolute() || ::access(answered.c_str(), X_OK) != 0)
    throw Error(ErrorCode::kInvalid, candidate.named + ": is no Python (it did not say where its interpreter is)",
                kHint);
  return answered;
}

struct Question {
  const Candidate& candidate;
  const fs::path& executable;
  const Caller& caller;
  std::chrono::milliseconds limit;
};

// Asked in "/" and without PYTHON*: the answer belongs to the interpreter, not to where and how it was called. HOME
// stays, the user site depends on it.
json full_answer(const Question& question) {
  os::SpawnRequest request;
  request.arguments = {question.executable, "-B", "-c", kProbe};
  request.directory = "/";
  for (const auto& [name, value] : question.caller.variables)
    if (!name.starts_with("PYTHON")) request.environment.push_back(name + "=" + value);
  const auto captured = ask(question.candidate, request, question.limit);
  const std::string line = last_line(captured.out);
  if (!line.starts_with(kAnswerMark))
    throw Error(ErrorCode::kInvalid, question.candidate.named + ": is no Python (it ignored a Python program)", kHint);
  try {
    return json::parse(line.substr(std::string_view(kAnswerMark).size()));
  } catch (const json::exception&) {
    throw Error(ErrorCode::kInvalid, question.candidate.named + ": has paths that are not UTF-8", kHint);
  }
}

bool within(const std::string& path, const std::string& directory) {
  return path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

void add_distinct(std::vector<std::string>& to, const std::string& path) {
  if (path.empty() || path == "/") return;  // "/" would make everything visible
  if (std::find(to.begin(), to.end(), path) == to.end()) to.push_back(path);
}

// The directories of each link on the way to the real file (a venv's python → the base's → python3.11), unless they lie
// in a prefix already. Only the directory: its parent may be somebody's home.
void add_link_directories(std::vector<std::string>& prefixes, fs::path program) {
  constexpr int kMaxLinks = 40;  // as the kernel
  std::error_code error;
  for (int i = 0; i < kMaxLinks; ++i) {
    const fs::path directory = program.parent_path();
    // "/bin" of a merged /usr is a link in every sandbox, too.
    const fs::path seen = directory.parent_path() == "/" ? fs::canonical(directory, error) : directory;
    const bool covered =
        std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return within(seen, prefix); });
    if (!covered) add_distinct(prefixes, directory);
    const fs::path target = fs::read_symlink(program, error);
    if (error) return;
    program = (program.parent_path() / target).lexically_normal();
  }
}

std::string identity_of(const Interpreter& interpreter) {
  std::string text = "kind: interpreter\nexecutable: " + interpreter.executable +
                     "\nversion: " + interpreter.implementation + " " + interpreter.version +
                     "\nbase: " + interpreter.base_executable + "\n";
  for (const std::string& prefix : interpreter.prefixes) text += "prefix: " + prefix + "\n";
  for (const std::string& entry : interpreter.search_path) text += "path: " + entry + "\n";
  for (const Distribution& one : interpreter.distributions) text += "package: " + one.name + " " + one.version + "\n";
  return text;
}

Interpreter interpreter_from(const json& answer, const fs::path& executable) {
  Interpreter found;
  found.executable = executable;
  found.version = answer.at("version").get<std::string>();
  for (const json& prefix : answer.at("prefixes")) {
    const fs::path path = prefix.get<std::string>();
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (error) continue;
    add_distinct(found.prefixes, path.lexically_normal());
    add_distinct(found.prefixes, real);
  }
  add_link_directories(found.prefixes, executable);
  for (const json& link : answer.at("links")) add_distinct(found.prefixes, link.get<std::string>());
  for (const json& entry : answer.at("path")) add_distinct(found.search_path, entry.get<std::string>());
  found.implementation = answer.at("implementation").get<std::string>();
  found.base_executable = answer.at("base").get<std::string>();
  for (const json& one : answer.at("distributions"))
    found.distributions.push_back({.name = one.at(0), .version = one.at(1), .directory = one.at(2)});
  found.identity = identity_of(found);
  found.digest = digest_of(found.identity);
  return found;
}

std::string key_of(const fs::path& executable, const Caller& caller) {
  return executable.string() + '\n' + variable(caller, "HOME");  // HOME decides the user site
}

std::vector<std::string> watched_paths(const json& answer, const fs::path& executable) {
  std::vector<std::string> watch{executable};
  for (const json& path : answer.at("watch")) watch.push_back(path.get<std::string>());
  return watch;
}

}  // namespace

InterpreterProbe::InterpreterProbe(fs::path cache, std::chrono::milliseconds limit)
    : cache_(std::move(cache)), limit_(limit) {}

Interpreter InterpreterProbe::resolve(const std::optional<std::string>& python, const Caller& caller) const {
  const Candidate candidate = locate(python, caller);
  check_startable(candidate);
  const fs::path executable = executable_behind(candidate, caller, limit_);

  const ProbeCache cache(cache_);
  const std::string key = key_of(executable, caller);
  try {
    if (const auto remembered = cache.find(key)) return interpreter_from(json::parse(*remembered), executable);
    const UtcTime asked = utc_now();
    const json answer = full_answer({candidate, executable, caller, limit_});
    Interpreter found = interpreter_from(answer, executable);
    cache.remember(key, answer.dump(), watched_paths(answer, executable), asked);
    return found;
  } catch (const json::exception&) {
    throw Error(ErrorCode::kInvalid, candidate.named + ": is no Python (its answer makes no sense)", kHint);
  }
}

std::optional<Interpreter> InterpreterProbe::remembered(const std::optional<std::string>& python,
                                                        const Caller& caller) const {
  const Candidate candidate = locate(python, caller);
  check_startable(candidate);
  if (!is_real_interpreter(candidate.program)) return std::nullopt;
  try {
    const auto found = ProbeCache(cache_).find(key_of(candidate.program, caller));
    return found ? std::optional(interpreter_from(json::parse(*found), candidate.program)) : std::nullopt;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace runner::envs
