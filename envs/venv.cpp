// A virtual environment: made by uv, or by the base's own venv module, and filled by install_pip.
#include <algorithm>

#include "envs/builders.hpp"
#include "envs/pip_install.hpp"
#include "envs/python_version.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

std::string minor_of(const std::string& version) {
  const auto dot = version.find('.');
  return version.substr(0, dot == std::string::npos ? dot : version.find('.', dot + 1));
}

void require_python(const BuildRequest& request) {
  for (const std::string& option : request.specification.pip_options) {
    if (!option.starts_with(kRequiresPython)) continue;
    const std::string wanted = option.substr(kRequiresPython.size());
    if (!python_satisfies(request.base.version, wanted))
      throw Error(
          ErrorCode::kInvalid,
          "the project wants Python " + wanted + ", but " + request.base.executable + " is " + request.base.version,
          "put such a Python first in PATH, or activate its environment, where you submit");
  }
  if (request.lock && minor_of(request.lock->python_version) != minor_of(request.base.version))
    throw Error(ErrorCode::kInvalid,
                "the lock was made with Python " + request.lock->python_version + ", but " + request.base.executable +
                    " is " + request.base.version,
                "put that Python first in PATH where you submit, or resolve anew with --rebuild");
}

void make_with_uv(const fs::path& uv, const BuildRequest& request, BuildConsole& console) {
  console.require({.name = "uv venv",
                   .arguments = {uv.string(), "venv", "--python", request.base.executable, request.prefix.string()},
                   .variables = pip_variables(request.settings, console.scratch()),
                   .directory = {}});
}

void make_with_python(const BuildRequest& request, BuildConsole& console) {
  std::string all;
  const Tool venv{.name = "python -m venv",
                  .arguments = {request.base.executable, "-m", "venv", request.prefix.string()},
                  .variables = pip_variables(request.settings, console.scratch()),
                  .directory = {}};
  const int status = console.run(venv, [&](std::string_view line) { all += std::string(line) + "\n"; });
  if (status == 0) return;
  const auto said = [&](const char* words) { return all.find(words) != std::string::npos; };
  // Debian keeps both in a package of their own.
  if (said("because ensurepip is not") || said("No module named ensurepip") || said("No module named venv"))
    throw Error(ErrorCode::kUnavailable,
                request.base.executable + ": cannot make virtual environments: its venv or ensurepip module is missing",
                "apt install python3-venv, or install uv");
  throw console.failure(venv.name, status);
}

}  // namespace

BuildResult build_venv(const BuildRequest& request, BuildConsole& console) {
  require_python(request);
  BuildResult result;
  console.step("making a virtual environment of Python " + request.base.version);
  if (const auto uv = find_uv(request.settings.variables))
    make_with_uv(*uv, request, console);
  else
    make_with_python(request, console);
  PipResult installed = install_pip({.specification = request.specification,
                                     .lock = request.lock,
                                     .prefix = request.prefix,
                                     .settings = request.settings},
                                    console);
  result.lock = {.python_version = request.base.version, .image = {}, .packages = std::move(installed.packages)};
  result.interpreter = (request.prefix / "bin" / "python").string();
  result.warnings = std::move(installed.warnings);
  return result;
}

}  // namespace runner::envs
