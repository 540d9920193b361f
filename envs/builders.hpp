// How a specification becomes an environment on this disk or in the Engine: one function a kind. Blocking; each throws
// the Error that explains why it could not be built, with the tool's last words. What a failed call leaves in `prefix`
// is garbage: the caller removes it, and publishes what a successful one made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/interpreter.hpp"
#include "envs/lock.hpp"
#include "envs/specification.hpp"
#include "runner/engine/engine.hpp"

namespace runner::envs {

struct BuildSettings {
  std::map<std::string, std::string> variables{};  // the caller's: PATH, HOME, proxies, PIP_*, UV_*, CONDA_*
  std::string conda_client{};                      // config.toml's `conda`; empty: the first that is found
  std::filesystem::path tools{};                   // private tool environments (py-rattler's); kept between builds
  std::filesystem::path wheels{};                  // our copies of wheels (wheel_store.hpp)
  std::filesystem::path data{};                    // the data directory, which is in no build context
  std::filesystem::path dockerfile{};              // kDockerfile: where its text was read from; empty: from nowhere
  bool fresh = false;                              // kDockerfile, --rebuild: without the Engine's build cache
  std::vector<std::string> container_labels{};     // "K=V": by which a daemon finds containers that an earlier one left
  // index URL (as it stands in the specification) → the same with credentials. In memory only.
  std::map<std::string, std::string> credentials{};
};

struct BuildRequest {
  Specification specification;
  std::optional<Lock> lock;      // exactly these packages, or an error naming what cannot be had
  std::filesystem::path prefix;  // absent; made at the very path where it will be used
  Interpreter base;              // kVenv: the Python it is made with
  BuildSettings settings;
};

struct BuildResult {
  Lock lock;
  std::string interpreter;                         // absolute path; empty: it has no Python
  std::map<std::string, std::string> variables{};  // what activating it sets (conda's activate.d, env_vars.d)
  std::string image{};                             // kDockerfile: the image's id
  std::int64_t bytes = 0;                          // kDockerfile: of the image, with what it shares with others
  std::vector<std::string> warnings{};
};

// uv where it is found, else `python -m venv` and pip. A lock is first tried without the network.
BuildResult build_venv(const BuildRequest& request, BuildConsole& console);
// The first of the configured client, micromamba, mamba, conda, rattler; else py-rattler in an environment of its own.
BuildResult build_conda(const BuildRequest& request, BuildConsole& console);
// POST /build with the context as a tar stream. The image is tagged `tag`.
BuildResult build_dockerfile(const BuildRequest& request, engine::Engine& engine, const std::string& tag,
                             BuildConsole& console);
// What must not be shown of its build: values of build arguments that are the caller's own variables or are called like
// a secret, and passwords in URLs.
std::vector<std::string> dockerfile_secrets(const Specification& wanted, const BuildSettings& settings);
// A conda prefix for the libraries of the image (docs/decisions/conda-in-image.md). `image` is its id.
BuildResult build_conda_in_image(const BuildRequest& request, engine::Engine& engine, const std::string& image,
                                 BuildConsole& console);

}  // namespace runner::envs
