#include "runner/exec/engine_containers.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/engine/archive.hpp"
#include "runner/engine/endpoint.hpp"
#include "runner/exec/container_config.hpp"
#include "runner/exec/root_skeleton.hpp"
#include "runner/exec/run_directories.hpp"
#include "runner/exec/runtime_trial.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/os/guarded.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec {
namespace {

using nlohmann::json;

constexpr int kOrderVersion = 1;              // of container.json
constexpr std::size_t kMostPasswd = 1 << 20;  // bytes of an image's /etc/passwd
constexpr std::size_t kMostListing =
    64 << 10;  // bytes of a directory's archive: the second entry is near its beginning

// Which life of an engine it is: a new engine makes its socket anew.
std::string instance_of(const std::filesystem::path& socket) {
  struct ::stat info {};
  if (::stat(socket.c_str(), &info) != 0) return "";
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) + ":" + std::to_string(info.st_ctim.tv_sec) +
         "." + std::to_string(info.st_ctim.tv_nsec);
}

std::map<std::string, std::string> as_map(const std::vector<std::string>& environment) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : environment) {
    const auto equals = entry.find('=');
    if (equals != std::string::npos && equals > 0) variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return variables;
}

// Where a --mount leads now: what is bound is this path, not the one that was typed, so that a link that is changed
// later leads nowhere else. Error(kInvalid) if it leads nowhere or to our own data.
std::string resolve_source(const Mount& mount, const std::filesystem::path& data_home) {
  const std::string what = "--mount " + mount.source + ":" + mount.target + ": ";
  std::error_code failed;
  const std::string source = std::filesystem::canonical(mount.source, failed).string();
  if (failed) throw Error(ErrorCode::kInvalid, what + mount.source + " does not exist or cannot be entered");
  const std::string home = std::filesystem::weakly_canonical(data_home, failed).string();
  if (source == home || source.starts_with(home + "/"))
    throw Error(ErrorCode::kInvalid, what + "the runner's own data directory is not for runs");
  return source;
}

// A run that deleted files of its snapshot leaves marks of root's in work/work, which an ordinary user cannot remove.
bool leaves_somebody_elses(const os::RunDirectory& directory, unsigned uid) {
  if (uid == 0) return false;
  return ::rmdir((directory.work() / "work").c_str()) != 0 && errno == ENOTEMPTY;
}

// An idle container of an image, removed whatever happens.
class Probe {
 public:
  Probe(engine::Engine& engine, const std::string& image, const BundleHost& host)
      : engine_(engine), id_(engine.create_idle_container(image, probe_labels(host))) {}
  ~Probe() {
    try {
      engine_.remove_container(id_);
    } catch (const Error&) {
      // The next daemon looks for it by its label.
    }
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  std::optional<engine::ArchivedPath> look_at(const std::string& path, std::size_t most) {
    const auto tar = engine_.read_archive(id_, path, most);
    return tar ? engine::read_archived_path(*tar) : std::nullopt;
  }

 private:
  engine::Engine& engine_;
  std::string id_;
};

// Programs ask who they are (getpass, git, ssh).
std::string with_caller(std::string passwd, const EngineRun& run, unsigned uid, unsigned gid) {
  if (!passwd.empty() && passwd.back() != '\n') passwd += '\n';
  const auto user = run.variables.find("USER");
  const std::string name = user == run.variables.end() || user->second.empty() ? "user" : user->second;
  // The first line of a name and of a uid counts.
  return name + ":x:" + std::to_string(uid) + ":" + std::to_string(gid) + "::" + run.home + ":/bin/sh\n" + passwd;
}

}  // namespace

struct EngineContainers::Memory {
  std::atomic<std::chrono::nanoseconds> stops_at{std::chrono::nanoseconds::max()};  // CLOCK_MONOTONIC
  struct Known {
    std::string instance;
    engine::EngineFacts facts;
  };
  os::Guarded<std::map<std::filesystem::path, Known>> engines;
  os::Guarded<std::map<std::string, ImageFacts>> images;                      // by id
  os::Guarded<std::map<std::pair<std::string, std::string>, bool>> occupied;  // (image id, path)
};

EngineContainers::EngineContainers(BundleHost host, std::filesystem::path shim, std::filesystem::path helper)
    : host_(std::move(host)), shim_(std::move(shim)), helper_(std::move(helper)), memory_(std::make_unique<Memory>()) {}
EngineContainers::~EngineContainers() = default;

std::vector<std::string> EngineContainers::own_labels() const { return probe_labels(host_); }

void EngineContainers::stop_waiting(std::chrono::milliseconds patience) {
  memory_->stops_at = os::monotonic_now() + patience;
}

engine::Engine EngineContainers::engine(const std::filesystem::path& socket) const {
  engine::Engine engine(socket);
  engine.stop_when([memory = memory_.get()] { return os::monotonic_now() >= memory->stops_at.load(); });
  const std::string instance = instance_of(socket);
  const auto known = memory_->engines.with([&](const auto& engines) -> std::optional<engine::EngineFacts> {
    const auto at = engines.find(socket);
    if (at == engines.end() || at->second.instance != instance) return std::nullopt;
    return at->second.facts;
  });
  if (known) {
    engine.use(*known);
    return engine;
  }
  const engine::EngineFacts facts = engine.facts();
  // A daemon that was killed while it looked into an image has left its probe.
  const std::string home_label = "runner.home=" + host_.data.home().string();
  // So has a container that was still being created when all that knew of it had died. An image may carry labels, too:
  // what says whose run it is comes first.
  for (const engine::Engine::Container& container : engine.containers_with({home_label})) {
    const auto run = container.labels.find("runner.run");
    const auto probe = container.labels.find(kProbeLabel);
    const bool orphan = run != container.labels.end() ? !std::filesystem::exists(host_.data.run(run->second).root())
                                                      : probe != container.labels.end() && probe->second != host_.token;
    if (orphan) engine.remove_container(container.id);
  }
  // Volumes that an earlier life of this engine would not give up. Those of a run that is on its way may look the same.
  engine.remove_volumes_with({home_label}, "runner.run", [this](const std::string& run) {
    return run.empty() || !std::filesystem::exists(host_.data.run(run).root());
  });
  memory_->engines.with([&](auto& engines) { engines[socket] = {instance, facts}; });
  return engine;
}

std::vector<UnenforcedLimit> EngineContainers::unenforceable(engine::Engine& engine,
                                                             const RunDefinition& definition) const {
  const engine::EngineFacts& facts = engine.facts();
  std::vector<UnenforcedLimit> limits;
  const auto need = [&](bool asked, bool can, const char* option) {
    if (asked && !can)
      limits.push_back({option,
                        "the container engine at " + engine.socket().string() + " cannot enforce it on this machine",
                        "see the warnings of `docker info`; a rootless engine needs cgroup v2 with delegation"});
  };
  need(definition.memory_bytes.has_value(), facts.limits_memory, "--memory");
  need(definition.pids.has_value(), facts.limits_pids, "--pids");
  need(definition.cpus.has_value(), facts.limits_cpus, "--cpus");
  return limits;
}

void EngineContainers::refuse_impossible(engine::Engine& engine, const RunDefinition& definition) const {
  const engine::EngineFacts& facts = engine.facts();
  if (definition.cpus && facts.cpus > 0 && *definition.cpus > facts.cpus)
    throw Error(ErrorCode::kInvalid,
                "--cpus: the container engine has " + std::to_string(std::llround(facts.cpus)) + ", not more",
                "ask for fewer, or leave it out for all of them");
  for (const Mount& mount : definition.mounts) {
    resolve_source(mount, host_.data.home());
    for (const char* ours : {"/run", "/etc"})
      if (mount.target == ours)
        throw Error(ErrorCode::kInvalid,
                    "--mount " + mount.source + ":" + mount.target + ": the runner has files of its own in " + ours,
                    "mount what you need below it");
  }
}

ImageFacts EngineContainers::look_into(engine::Engine& engine, const engine::Image& image) const {
  const auto known = memory_->images.with([&](const auto& images) -> std::optional<ImageFacts> {
    const auto at = images.find(image.id);
    return at == images.end() ? std::nullopt : std::optional(at->second);
  });
  if (known) return *known;
  ImageFacts facts{.id = image.id, .environment = as_map(image.environment), .passwd = {}};
  Probe probe(engine, image.id, host_);
  if (auto passwd = probe.look_at("/etc/passwd", kMostPasswd)) facts.passwd = std::move(passwd->content);
  constexpr std::size_t kMostImages = 64;  // whose passwd files are kept in memory
  memory_->images.with([&](auto& images) {
    if (images.size() >= kMostImages) images.clear();
    images[image.id] = facts;
  });
  return facts;
}

bool EngineContainers::occupies(engine::Engine& engine, const engine::Image& image, const std::string& path) const {
  const std::pair key{image.id, path};
  const auto known = memory_->occupied.with([&](const auto& table) -> std::optional<bool> {
    const auto at = table.find(key);
    return at == table.end() ? std::nullopt : std::optional(at->second);
  });
  if (known) return *known;
  Probe probe(engine, image.id, host_);
  const auto found = probe.look_at(path, kMostListing);
  const bool occupied = found && (!found->directory || found->holds_something);
  constexpr std::size_t kMostPlaces = 1024;
  memory_->occupied.with([&](auto& table) {
    if (table.size() >= kMostPlaces) table.clear();
    table[key] = occupied;
  });
  return occupied;
}

void EngineContainers::prepare(const EngineRun& run, const engine::EngineFacts& facts) const {
  make_run_directories(run.directory);
  EngineRun resolved = run;
  for (Mount& mount : resolved.definition.mounts) mount.source = resolve_source(mount, host_.data.home());
  make_mount_points({}, own_mount_points(resolved));
  os::publish_file(run.directory.passwd(), with_caller(run.image.passwd, run, host_.uid, host_.gid),
                   os::Durability::kAtomic, 0644);
  const json order{{"version", kOrderVersion},
                   {"socket", run.definition.engine_socket},
                   {"api", facts.api},
                   {"name", "runner-" + run.id},
                   {"create", json::parse(make_container_config(resolved, host_, facts))}};
  os::publish_file(run.directory.container(), order.dump(), os::Durability::kAtomic);
  const RunDefinition& definition = run.definition;
  shim::write_spec(run.directory, {.run_id = run.id,
                                   .attempt = run.attempt,
                                   .runtime_command = {helper_.string(), run.directory.container().string()},
                                   .engine = true,
                                   .join_cgroups = false,
                                   .cgroups = {},
                                   .warm_cgroups_file = {},
                                   .limits = {.memory_bytes = definition.memory_bytes, .pids = {}, .cpus = {}},
                                   .max_run_duration = definition.max_run_duration,
                                   .grace = definition.grace,
                                   .max_log_bytes = definition.log_limit(),
                                   .script_name = run.arguments.front(),
                                   .candidates = run.candidates,
                                   .image = definition.image,
                                   .secrets = !definition.secrets.empty() || !run.api.empty()});
}

os::Child EngineContainers::launch(const os::RunDirectory& directory, int secrets) const {
  return launch_shim(shim_, directory, secrets);
}

bool EngineContainers::remove_remains(const std::string& id) const {
  const os::RunDirectory directory = host_.data.run(id);
  const auto text = os::read_file_if_exists(directory.container());
  if (!text) return true;
  const json order = json::parse(*text, nullptr, false);
  if (!order.is_object() || !order.contains("socket"))
    return true;  // cut short by a crash: nothing was started with it
  try {
    engine::Engine engine = this->engine(order["socket"].get<std::string>());
    const auto labels = run_labels(host_.data.home(), id);
    const auto containers = engine.containers_with(labels);
    for (const engine::Engine::Container& container : containers) engine.remove_container(container.id);
    // `docker rm` of somebody else's leaves the anonymous volume.
    engine.remove_volumes_with(labels, "runner.run", [](const std::string&) { return true; });
    if (leaves_somebody_elses(directory, host_.uid)) {
      for (const char* layer : {"lower", "upper"}) os::make_directories(directory.sweep() / layer);
      engine.run_to_end(make_sweep_config(directory, order["create"].value("Image", ""), host_),
                        "clear the overlay's work directory");
    }
    return !containers.empty() || ::access(directory.started().c_str(), F_OK) == 0;
  } catch (const Error& error) {
    throw error.within("remove the container of run " + id);
  }
}

Check EngineContainers::check(const std::map<std::string, std::string>& caller_variables) const {
  Check check{.name = "container engine", .works = false, .detail = {}, .remedy = {}};
  try {
    engine::Engine engine = this->engine(engine::find_engine(caller_variables));
    const engine::EngineFacts& facts = engine.facts();
    check.works = true;
    check.detail = std::string(facts.podman ? "Podman " : "Docker ") + facts.version + " at " +
                   engine.socket().string() + ", API " + facts.api.substr(2) + (facts.rootless ? ", rootless" : "");
    if (!mounts_overlays(facts)) check.detail += "; no overlay volumes: working directories are copied";
  } catch (const Error& error) {
    check.detail = error.message();
    check.remedy = error.hint().empty() ? "only needed for --image" : "only needed for --image: " + error.hint();
  }
  return check;
}

}  // namespace runner::exec
