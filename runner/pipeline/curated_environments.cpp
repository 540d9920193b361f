#include "runner/pipeline/curated_environments.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "envs/digest.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/environment_choice.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = 1 << 20;

std::int64_t version_in(std::string_view text) {
  constexpr std::string_view kMark = "# version: ";
  std::int64_t version = 1;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(kMark)) {
      std::from_chars(line.data() + kMark.size(), line.data() + line.size(), version);
      break;
    }
    at = end + 1;
  }
  return version;
}

store::RegisteredEnvironment read(const fs::path& file) {
  envs::ReadSpecification found =
      file.extension() == ".yml" ? envs::read_conda_file(file) : envs::read_requirements(file);
  if (file.extension() != ".yml") found.specification.kind = envs::SpecificationKind::kVenv;
  store::RegisteredEnvironment environment{.name = file.stem().string(),
                                           .version = version_in(os::read_file(file, kLargestFile)),
                                           .definition = definition_json(found),
                                           .content = {}};
  environment.content = envs::digest_of(std::string_view(environment.definition));
  return environment;
}

}  // namespace

std::vector<store::RegisteredEnvironment> CuratedEnvironments::all() const {
  std::vector<store::RegisteredEnvironment> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    const fs::path& file = entry.path();
    if (file.extension() != ".yml" && file.extension() != ".txt") continue;
    try {
      found.push_back(read(file));
    } catch (const Error& error) {
      spdlog::warn("curated environment {}: {}", file.string(), error.message());
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return found;
}

std::optional<store::RegisteredEnvironment> CuratedEnvironments::find(const std::string& name) const {
  if (name.find('/') != std::string::npos || name.starts_with('.')) return std::nullopt;
  std::error_code ignored;
  for (const char* extension : {".txt", ".yml"})
    if (const fs::path file = directory_ / (name + extension); fs::is_regular_file(file, ignored)) return read(file);
  return std::nullopt;
}

}  // namespace runner::pipeline
