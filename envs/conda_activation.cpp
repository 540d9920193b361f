// Activation is shell code of packages. It is run once, after the build, and what it exports is remembered: a run
// starts no shell and gets the same variables every time.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "envs/conda_prefix.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Variables = std::map<std::string, std::string>;

// bash where there is one: many of these scripts need it. What they print is for people; the last process, `cat`, shows
// what they export.
constexpr const char* kScript = R"SH(
shell=$(command -v bash || echo /bin/sh)
exec "$shell" -c '
  exec 3>&1 1>&2
  for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    . "$script"
  done
  PATH=/usr/bin:/bin:$PATH exec cat /proc/self/environ >&3
'
)SH";

std::vector<fs::path> files_in(const fs::path& directory, std::string_view extension) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (entry.path().extension() == extension) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

void add_texts(Variables& to, const json& object) {
  constexpr std::string_view kUnset = "***unset***";  // conda's
  for (const auto& [name, value] : object.items())
    if (value.is_string() && !name.empty() && value != kUnset) to[name] = value.get<std::string>();
}

// In conda's order: the packages' files by name, then what `conda env config vars set` has written.
Variables declared(const fs::path& prefix) {
  Variables variables;
  std::vector<fs::path> files = files_in(prefix / "etc/conda/env_vars.d", ".json");
  const fs::path state = prefix / "conda-meta/state";
  std::error_code ignored;
  if (fs::exists(state, ignored)) files.push_back(state);
  for (const fs::path& file : files) try {
      const json content = json::parse(os::read_file(file));
      add_texts(variables, file == state ? content.value("env_vars", json::object()) : content);
    } catch (const json::exception&) {
      throw Error(ErrorCode::kInvalid, file.string() + ": no JSON object of variables");
    }
  return variables;
}

bool is_shells_own(const std::string& name) {
  constexpr std::array<std::string_view, 9> kOwn{
      "PATH", "PWD", "OLDPWD", "SHLVL", "_", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "PS1"};
  return std::find(kOwn.begin(), kOwn.end(), name) != kOwn.end();
}

}  // namespace

Variables conda_activation(const fs::path& prefix, const RunTool& run) {
  Variables variables = declared(prefix);
  if (files_in(prefix / "etc/conda/activate.d", ".sh").empty()) return variables;

  Tool tool{.name = "activation", .arguments = {"/bin/sh", "-c", kScript}, .variables = variables, .directory = {}};
  tool.variables["PATH"] = (prefix / "bin").string() + ":/usr/local/bin:/usr/bin:/bin";
  tool.variables["CONDA_PREFIX"] = tool.variables["CONDA_DEFAULT_ENV"] = prefix;
  tool.variables["CONDA_SHLVL"] = "1";
  std::string exported;
  const int status = run(tool, {}, &exported);
  if (status != 0 || exported.empty())
    throw Error(ErrorCode::kInvalid,
                "the activation scripts of the conda packages fail (exit code " + std::to_string(status) + ")",
                "see " + (prefix / "etc/conda/activate.d").string());
  for (std::size_t begin = 0; begin < exported.size();) {
    const auto end = std::min(exported.find('\0', begin), exported.size());
    const std::string entry = exported.substr(begin, end - begin);
    begin = end + 1;
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    if (const std::string name = entry.substr(0, equals); !is_shells_own(name))
      variables[name] = entry.substr(equals + 1);
  }
  return variables;
}

}  // namespace runner::envs
