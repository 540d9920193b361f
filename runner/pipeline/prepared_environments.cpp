#include "runner/pipeline/prepared_environments.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "envs/builders.hpp"
#include "envs/fingerprint.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"
#include "runner/pipeline/environment_choice.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;
using envs::SpecificationKind;

constexpr std::size_t kDigits = 16;  // of the identity, in a directory's name

// What a tree takes on the disk; hard links within it count once.
std::int64_t bytes_of(const fs::path& root) {
  std::int64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> linked;
  std::error_code ignored;
  for (fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, ignored), end;
       at != end; at.increment(ignored)) {
    struct ::stat info {};
    if (::lstat(at->path().c_str(), &info) != 0) continue;
    if (info.st_nlink > 1 && S_ISREG(info.st_mode) && !linked.emplace(info.st_dev, info.st_ino).second) continue;
    bytes += std::int64_t{info.st_blocks} * 512;
  }
  return bytes;
}

void sync_file_system(const fs::path& path) {
  const os::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::syncfs(directory.get()) != 0) throw errno_error(errno, "sync " + path.string());
}

// "user:password" and "password" of a URL that has them.
void add_credentials(std::vector<std::string>& secrets, const std::string& url) {
  const auto begin = url.find("://");
  if (begin == std::string::npos) return;
  const auto end = url.find('@', begin + 3);
  if (end == std::string::npos || end > url.find('/', begin + 3)) return;
  const std::string user_information = url.substr(begin + 3, end - begin - 3);
  secrets.push_back(user_information);
  if (const auto colon = user_information.find(':'); colon != std::string::npos && colon + 1 < user_information.size())
    secrets.push_back(user_information.substr(colon + 1));
}

// What must not get into the build's log: credentials of URLs, and variables that the specification has expanded.
std::vector<std::string> secrets_of(const envs::Specification& specification, const envs::BuildSettings& settings) {
  std::vector<std::string> secrets;
  for (const auto& [plain, whole] : settings.credentials) add_credentials(secrets, whole);
  const std::string text = envs::to_json(specification);
  for (const auto& [name, value] : settings.variables) {
    add_credentials(secrets, value);
    if (!value.empty() && text.find("${" + name + "}") != std::string::npos) secrets.push_back(value);
  }
  return secrets;
}

}  // namespace

PreparedEnvironments::PreparedEnvironments(const os::DataDirectory& data, store::Environments& rows,
                                           const envs::InterpreterProbe& probe,
                                           const exec::EngineContainers& containers, Limits limits)
    : data_(data), rows_(rows), probe_(probe), containers_(containers), limits_(std::move(limits)) {}

fs::path PreparedEnvironments::prefix_of(const store::EnvironmentBuild& build) const {
  return build.directory.empty() ? fs::path() : data_.environments() / build.directory / "prefix";
}

bool PreparedEnvironments::is_intact(const store::EnvironmentBuild& build) const {
  if (!build.directory.empty()) {
    const fs::path prefix = prefix_of(build);
    if (::access(prefix.c_str(), R_OK | X_OK) != 0) return false;
    struct ::stat info {};
    // The interpreter of a prefix for an image may lead to what only the image has.
    if (!build.interpreter.empty() && ::lstat(build.interpreter.c_str(), &info) != 0) return false;
    if (build.image.empty() && !build.interpreter.empty() && ::access(build.interpreter.c_str(), X_OK) != 0)
      return false;
    if (build.fingerprint && envs::fingerprint_of(prefix) != *build.fingerprint) return false;
    return true;
  }
  return containers_.engine(build.engine).inspect_image(build.image).has_value();
}

std::optional<store::EnvironmentBuild> PreparedEnvironments::find(const Wanted& wanted) {
  for (auto& build : rows_.builds(wanted.environment)) {
    if (wanted.lock && build.lock != *wanted.lock) continue;
    if (wanted.not_before && build.created < *wanted.not_before) continue;
    if (is_intact(build)) return std::move(build);
    spdlog::warn("environment {}: {} was changed or removed behind our back; it is built again when it is needed",
                 build.environment.hex().substr(0, kDigits), build.directory.empty() ? build.image : build.directory);
    rows_.forget_build(build.id);
  }
  return std::nullopt;
}

fs::path PreparedEnvironments::new_directory(const Hash& environment) const {
  constexpr int kMost = 1'000'000;
  os::make_directories(data_.environments());
  for (int n = 1; n < kMost; ++n) {
    const fs::path directory = data_.environments() / (environment.hex().substr(0, kDigits) + "-" + std::to_string(n));
    if (::mkdir(directory.c_str(), 0700) == 0) return directory;
    if (errno != EEXIST) throw errno_error(errno, "mkdir " + directory.string());
  }
  throw Error(ErrorCode::kInternal, data_.environments().string() + ": no free name");
}

store::EnvironmentBuild PreparedEnvironments::build(const BuildJob& job, BuildControl& control) {
  const auto stored = rows_.find(job.environment);
  if (!stored) throw Error(ErrorCode::kInternal, "environment " + job.environment.hex() + " is not in the history");
  const UtcTime begun = utc_now();
  const fs::path directory = new_directory(job.environment);
  control.begins_in(directory);
  const fs::path scratch = directory / "scratch";
  os::make_directories(scratch);
  const envs::Specification specification = envs::specification_from_json(stored->specification);
  envs::BuildConsole console({.log = log_in(directory),
                              .scratch = scratch,
                              .guard = os::program_directory() / "runner-guard",
                              .secrets = secrets_of(specification, job.settings),
                              .stopped = [&control] { return control.stopped(); },
                              .progress = [&control](const std::string& line) { control.progress(line); },
                              .deadline = os::monotonic_now() + limits_.build});

  envs::BuildRequest request{.specification = specification,
                             .lock = std::nullopt,
                             .prefix = directory / "prefix",
                             .base = {},
                             .settings = job.settings};
  request.settings.conda_client = limits_.conda_client;
  request.settings.tools = data_.tools();
  request.settings.wheels = data_.wheels();
  request.settings.container_labels = containers_.own_labels();
  // What was resolved once is built again as it was, until somebody asks for a new solution.
  if (const auto lock = job.lock ? job.lock : job.fresh ? std::nullopt : stored->lock)
    if (const auto content = rows_.lock(*lock)) request.lock = envs::lock_from_json(*content);

  envs::BuildResult result;
  const SpecificationKind kind = request.specification.kind;
  switch (kind) {
    case SpecificationKind::kVenv:
      request.base = probe_.resolve(job.base, {.directory = "/", .variables = job.settings.variables});
      result = envs::build_venv(request, console);
      break;
    case SpecificationKind::kConda:
      result = envs::build_conda(request, console);
      break;
    case SpecificationKind::kCondaImage: {
      auto engine = containers_.engine(job.engine);
      result = envs::build_conda_in_image(request, engine, job.image, console);
      break;
    }
    case SpecificationKind::kDockerfile: {
      auto engine = containers_.engine(job.engine);
      request.lock.reset();  // an image cannot be built from a list of packages
      result = envs::build_dockerfile(request, engine, image_name_of(request.specification), console);
      break;
    }
    case SpecificationKind::kInterpreter:
    case SpecificationKind::kImage:
      throw Error(ErrorCode::kInternal, "an environment of kind " + stored->kind + " is not built");
  }
  const Hash lock = envs::digest_of(result.lock);
  if (request.lock && lock != envs::digest_of(*request.lock)) {
    std::string differences;
    for (const std::string& line : envs::difference(*request.lock, result.lock)) differences += "\n" + line;
    throw Error(ErrorCode::kInvalid, "what was built is not what the lock says" + differences,
                "--rebuild resolves the environment anew");
  }
  control.progress("publishing the environment");
  os::remove_tree(scratch);
  store::EnvironmentBuild build{.environment = job.environment,
                                .lock = lock,
                                .directory = directory.filename(),
                                .interpreter = result.interpreter,
                                .fingerprint = envs::fingerprint_of(request.prefix),
                                .variables = std::move(result.variables),
                                .image = kind == SpecificationKind::kCondaImage ? job.image : result.image,
                                .engine = job.engine,
                                .bytes = bytes_of(request.prefix),
                                .created = begun,
                                .used = utc_now()};
  if (kind == SpecificationKind::kDockerfile) {
    build.directory.clear();
    build.fingerprint.reset();
  } else {
    sync_file_system(directory);
  }
  build.id = rows_.publish(build, envs::to_json(result.lock));
  return build;
}

void PreparedEnvironments::settle(const BuildEnd& end, const BuildJob*) {
  if (end.directory.empty() || (end.build && !end.build->directory.empty())) return;
  try {
    os::remove_tree(end.directory);
  } catch (const Error& error) {
    spdlog::warn("{}: not removed: {}", end.directory.string(), error.message());
  }
}

std::optional<store::EnvironmentBuild> PreparedEnvironments::acquire(const Wanted& wanted, const std::string& run) {
  const std::lock_guard lock(mutex_);
  auto build = find(wanted);
  if (build) users_[run] = build->id;
  return build;
}

void PreparedEnvironments::release(const std::string& run) {
  const std::lock_guard lock(mutex_);
  users_.erase(run);
}

bool PreparedEnvironments::remove(const store::EnvironmentBuild& build) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [run, id] : users_)
      if (id == build.id) return false;
    if (build.directory.empty() && !containers_.engine(build.engine).remove_image(build.image)) return false;
    rows_.forget_build(build.id);
  }
  if (!build.directory.empty()) os::remove_tree(data_.environments() / build.directory);
  return true;
}

std::vector<fs::path> PreparedEnvironments::orphans() const {
  std::set<std::string> owned;
  for (const auto& build : rows_.builds()) owned.insert(build.directory);
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(data_.environments(), ignored))
    if (!owned.contains(entry.path().filename())) found.push_back(entry.path());
  return found;
}

}  // namespace runner::pipeline
