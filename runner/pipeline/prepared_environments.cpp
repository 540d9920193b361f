#include "runner/pipeline/prepared_environments.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "envs/builders.hpp"
#include "envs/fingerprint.hpp"
#include "envs/pip_install.hpp"
#include "envs/wheel_store.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"
#include "runner/pipeline/base_images.hpp"
#include "runner/pipeline/environment_choice.hpp"
#include "runner/pipeline/environment_rows.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;
using envs::SpecificationKind;

constexpr std::size_t kDigits = 16;  // of the identity, in a directory's name

void sync_file_system(const fs::path& path) {
  const os::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::syncfs(directory.get()) != 0) throw errno_error(errno, "sync " + path.string());
}

// The Engine builds by name: what its bases are called must still be what the identity was taken from. `all`: none may
// be missing; before a build the Engine may still have to pull them.
void require_bases(const BuildJob& job, const envs::Specification& wanted, engine::Engine& engine, bool all) {
  const std::vector<std::string> images = images_of(wanted);
  const auto bases = look_at_bases(images, engine);
  envs::BuildBase base = envs::this_platform();
  if (bases) base.base = bases->ids;
  if (bases ? envs::identity_of(wanted, base) == job.environment : !all) return;
  std::string names;
  for (const std::string& image : images) names += (names.empty() ? "" : ", ") + image;
  throw Error(ErrorCode::kConflict,
              (images.size() == 1 ? "the base image " : "one of the base images ") + names +
                  " changed after the run was submitted",
              "submit again");
}

}  // namespace

PreparedEnvironments::PreparedEnvironments(const os::DataDirectory& data, store::Environments& rows,
                                           const envs::InterpreterProbe& probe,
                                           const exec::EngineContainers& containers, Limits limits)
    : data_(data), rows_(rows), probe_(probe), containers_(containers), limits_(std::move(limits)) {
  envs::WheelStore(data_.wheels()).remove_unfinished();
}

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
  std::optional<Hash> meaning;
  if (!wanted.lock)
    if (const auto stored = rows_.find(wanted.environment)) meaning = stored->lock;
  for (auto& build : rows_.builds(wanted.environment)) {
    // What an image has in it differs from Engine to Engine, as do the locks.
    const bool other =
        wanted.lock ? build.lock != *wanted.lock : meaning && !build.directory.empty() && build.lock != *meaning;
    if (other || (build.directory.empty() && build.engine != wanted.engine)) continue;
    if (wanted.not_before && build.created < *wanted.not_before) continue;
    if (is_intact(build)) return std::move(build);
    spdlog::warn("environment {}: {} was changed or removed behind our back; it is built again when it is needed",
                 build.environment.hex().substr(0, kDigits), build.directory.empty() ? build.image : build.directory);
    rows_.forget_build(build.id);
  }
  return std::nullopt;
}

fs::path PreparedEnvironments::new_directory(const Hash& environment) {
  constexpr int kMost = 1'000'000;
  os::make_directories(data_.environments());
  const std::lock_guard lock(mutex_);  // before it is there it is known
  for (int n = 1; n < kMost; ++n) {
    const fs::path directory = data_.environments() / (environment.hex().substr(0, kDigits) + "-" + std::to_string(n));
    if (::mkdir(directory.c_str(), 0700) == 0) {
      building_.insert(directory.filename());
      return directory;
    }
    if (errno != EEXIST) throw errno_error(errno, "mkdir " + directory.string());
  }
  throw Error(ErrorCode::kInternal, data_.environments().string() + ": no free name");
}

store::EnvironmentBuild PreparedEnvironments::build(const BuildJob& job, BuildControl& control) {
  const auto stored = rows_.find(job.environment);
  if (!stored) throw Error(ErrorCode::kInternal, "environment " + job.environment.hex() + " is not in the history");
  // Another build may have made it while this one waited for its turn.
  if (!job.fresh)
    if (auto there = find({.environment = job.environment, .engine = job.engine, .lock = job.lock}))
      return std::move(*there);
  const UtcTime begun = utc_now();
  const fs::path directory = new_directory(job.environment);
  control.begins_in(directory);
  const fs::path scratch = directory / "scratch";
  os::make_directories(scratch);
  const envs::Specification specification = envs::specification_from_json(stored->specification);
  envs::BuildConsole console(console_options(directory, specification, job, control));

  envs::BuildRequest request{.specification = specification,
                             .lock = std::nullopt,
                             .prefix = directory / "prefix",
                             .base = {},
                             .settings = settings_for(specification, job)};
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
      const std::string name = image_name_of(request.specification);
      require_bases(job, request.specification, engine, false);
      result = envs::build_dockerfile(request, engine, name, console);
      try {
        require_bases(job, request.specification, engine, true);
      } catch (const Error&) {
        engine.remove_image(name);
        throw;
      }
      break;
    }
    case SpecificationKind::kInterpreter:
    case SpecificationKind::kImage:
      throw Error(ErrorCode::kInternal, "an environment of kind " + stored->kind + " is not built");
  }
  for (const std::string& warning : result.warnings) {
    console.write("warning: " + warning + "\n");
    control.warn(console.redacted(warning));
  }
  if (console.is_cut()) control.warn("the environment's build has said too much: its log is cut");
  const Hash lock = envs::digest_of(result.lock);
  if (request.lock && lock != envs::digest_of(*request.lock)) {
    std::string differences;
    for (const std::string& line : envs::difference(*request.lock, result.lock)) differences += "\n" + line;
    throw Error(ErrorCode::kInvalid, "what was built is not what the lock says" + differences,
                "--rebuild resolves the environment anew");
  }
  control.progress("publishing the environment");
  os::remove_tree(scratch);
  store::EnvironmentBuild build{
      .environment = job.environment,
      .lock = lock,
      .directory = directory.filename(),
      .interpreter = result.interpreter,
      .fingerprint = envs::fingerprint_of(request.prefix),
      .variables = std::move(result.variables),
      .image = kind == SpecificationKind::kCondaImage ? job.image : result.image,
      .engine = job.engine,
      .bytes = kind == SpecificationKind::kDockerfile ? result.bytes : os::disk_bytes_below(request.prefix),
      .created = begun,
      .used = utc_now()};
  if (kind == SpecificationKind::kDockerfile) {
    build.directory.clear();
    build.fingerprint.reset();
  } else {
    sync_file_system(directory);
  }
  build.id = rows_.publish(build, envs::to_json(result.lock), !job.lock);
  return build;
}

void PreparedEnvironments::stock(const BuildJob& job, const store::EnvironmentBuild& build, BuildControl& control) {
  const auto stored = rows_.find(build.environment);
  const auto lock = rows_.lock(build.lock);
  if (!stored || !lock || build.directory.empty()) return;
  const fs::path directory = data_.environments() / build.directory;
  try {
    const envs::Specification wanted = envs::specification_from_json(stored->specification);
    if (wanted.pip.empty()) return;
    os::make_directories(directory / "scratch");
    envs::BuildConsole console(console_options(directory, wanted, job, control));
    envs::stock_wheels(wanted, envs::lock_from_json(*lock), directory / "prefix", settings_for(wanted, job), console);
  } catch (const std::exception& error) {
    spdlog::warn("environment {}: without a network it cannot be built again: {}", build.directory, error.what());
  }
  try {
    os::remove_tree(directory / "scratch");
  } catch (const Error& error) {
    spdlog::warn("{}: {}", directory.string(), error.message());
  }
}

envs::BuildConsole::Options PreparedEnvironments::console_options(const fs::path& directory,
                                                                  const envs::Specification& wanted,
                                                                  const BuildJob& job, BuildControl& control) const {
  std::vector<std::string> secrets = envs::pip_secrets(wanted, job.settings);
  for (std::string& secret : envs::dockerfile_secrets(wanted, job.settings)) secrets.push_back(std::move(secret));
  return {.log = log_in(directory),
          .scratch = directory / "scratch",
          .guard = os::program_directory() / "runner-guard",
          .secrets = std::move(secrets),
          .stopped = [&control] { return control.stopped(); },
          .progress = [&control](const std::string& line) { control.progress(line); },
          .deadline = os::monotonic_now() + limits_.build};
}

envs::BuildSettings PreparedEnvironments::settings_for(const envs::Specification& wanted, const BuildJob& job) const {
  envs::BuildSettings settings = job.settings;
  settings.conda_client = limits_.conda_client;
  settings.data = data_.home();
  settings.tools = data_.tools();
  settings.wheels = data_.wheels();
  settings.container_labels = containers_.own_labels();
  settings.fresh = job.fresh;
  settings.dockerfile = wanted.dockerfile_path;
  return settings;
}

void PreparedEnvironments::settle(const BuildEnd& end) {
  if (end.directory.empty()) return;
  try {
    if (!end.build || end.build->directory.empty()) os::remove_tree(end.directory);
  } catch (const Error& error) {
    spdlog::warn("{}: not removed: {}", end.directory.string(), error.message());
  }
  const std::lock_guard lock(mutex_);
  building_.erase(end.directory.filename());
}

// An Engine may take its time to answer: it is asked without the lock.
std::optional<store::EnvironmentBuild> PreparedEnvironments::acquire(const Wanted& wanted, const std::string& run) {
  for (;;) {
    auto build = find(wanted);
    if (!build) return std::nullopt;
    const std::lock_guard lock(mutex_);
    if (removing_.contains(build->id)) return std::nullopt;
    const auto rows = rows_.builds(wanted.environment);
    if (std::none_of(rows.begin(), rows.end(), [&](const auto& row) { return row.id == build->id; })) continue;
    users_[run] = {.build = build->id, .directory = build->directory};
    return build;
  }
}

void PreparedEnvironments::release(const std::string& run) {
  const std::lock_guard lock(mutex_);
  users_.erase(run);
}

std::optional<std::int64_t> PreparedEnvironments::remove(const store::EnvironmentBuild& build) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [run, use] : users_)
      if (use.build == build.id) return std::nullopt;
    if (!removing_.insert(build.id).second) return std::nullopt;
  }
  const auto end = [&] {
    const std::lock_guard lock(mutex_);
    removing_.erase(build.id);
  };
  try {
    const std::int64_t freed = build.directory.empty() ? remove_image(build) : build.bytes;
    rows_.forget_build(build.id);
    end();
    if (!build.directory.empty()) os::remove_tree(data_.environments() / build.directory);
    return freed;
  } catch (...) {
    end();
    throw;
  }
}

// Our name for it is ours to take; whoever else has named the image, or was built into the same one, keeps it.
std::int64_t PreparedEnvironments::remove_image(const store::EnvironmentBuild& build) const {
  auto engine = containers_.engine(build.engine);
  const auto image = engine.inspect_image(build.image);
  const auto stored = rows_.find(build.environment);
  if (!image || !stored) return 0;
  const std::string name = image_name_of(envs::specification_from_json(stored->specification));
  bool shared = false;
  for (const auto& other : rows_.builds()) {
    if (other.id == build.id || other.image != build.image || other.engine != build.engine) continue;
    shared = true;
    if (const auto row = rows_.find(other.environment))
      if (image_name_of(envs::specification_from_json(row->specification)) == name) return 0;
  }
  const bool named = std::find_if(image->tags.begin(), image->tags.end(), [&](const std::string& tag) {
                       return tag == name || tag.ends_with("/" + name);
                     }) != image->tags.end();
  if (!named && (shared || !image->tags.empty())) return 0;
  if (!engine.remove_image(named ? name : build.image))
    throw Error(ErrorCode::kConflict, "a container or another image of the Engine at " + build.engine + " uses it");
  return image->tags.size() > 1 ? 0 : build.bytes;
}

std::vector<fs::path> PreparedEnvironments::orphans(const std::vector<RunRecord>& unfinished) const {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(data_.environments(), ignored)) found.push_back(entry.path());
  // After the directories, and the rows last: a directory that is there is being made, or has its row by now.
  std::set<std::string> owned = [this] {
    const std::lock_guard lock(mutex_);
    std::set<std::string> names = building_;
    for (const auto& [run, use] : users_) names.insert(use.directory);
    return names;
  }();
  for (const auto& build : rows_.builds()) owned.insert(build.directory);
  std::erase_if(found, [&](const fs::path& directory) {
    return owned.contains(directory.filename()) ||
           std::any_of(unfinished.begin(), unfinished.end(), [&](const RunRecord& run) {  // forgotten, and still in use
             return run.environment.interpreter.starts_with(directory.string() + "/");
           });
  });
  return found;
}

}  // namespace runner::pipeline
