#include "runner/exec/container_config.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::exec {
namespace {

using nlohmann::json;

json bind_of(const std::filesystem::path& source, const std::string& target, bool writable) {
  return {{"Type", "bind"},
          {"Source", source.string()},
          {"Target", target},
          {"ReadOnly", !writable},
          {"BindOptions", {{"Propagation", "rprivate"}}}};
}

// An anonymous volume that is an overlay: the Engine mounts it, so it works for an ordinary user's daemon, too; it
// costs nothing to make and goes with the container.
json overlay_volume(const std::string& target, const std::vector<std::filesystem::path>& layers,
                    const std::filesystem::path& upper, const std::filesystem::path& work, bool rootless, json labels) {
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < layers.size(); ++i)
    options += (i == 0 ? "" : ":") + escape_overlay_path(layers[i].string());
  options += ",upperdir=" + escape_overlay_path(upper.string()) + ",workdir=" + escape_overlay_path(work.string());
  options += rootless ? ",userxattr" : ",index=off,metacopy=off,redirect_dir=off";
  constexpr std::size_t kMountDataLimit = 4095;  // one page, mount(2)
  if (options.size() > kMountDataLimit)
    throw Error(ErrorCode::kInternal,
                "the names of " + std::to_string(layers.size()) + " layers are too long for one mount",
                "use a data directory with a shorter path (RUNNER_HOME)");
  return {{"Type", "volume"},
          {"Target", target},
          {"VolumeOptions",
           {{"NoCopy", true},
            {"Labels", std::move(labels)},
            {"DriverConfig",
             {{"Name", "local"}, {"Options", {{"type", "overlay"}, {"device", "overlay"}, {"o", options}}}}}}}};
}

// What may lie in each other. As in the sandbox, --mount replaces what would be at the same place.
std::vector<Mount> binds_of(const EngineRun& run) {
  std::vector<Mount> binds{{run.directory.tmp().string(), "/tmp", true}};
  if (run.home != "/tmp") binds.push_back({run.directory.home().string(), run.home, true});
  for (const Mount& mount : run.definition.mounts) {
    std::erase_if(binds, [&](const Mount& ours) { return ours.target == mount.target; });
    binds.push_back(mount);
  }
  if (run.layers.empty()) binds.push_back({run.directory.copy().string(), run.working_directory, true});
  return binds;
}

json labels_of(const std::vector<std::string>& texts) {
  json labels = json::object();
  for (const std::string& text : texts) labels[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  return labels;
}

json mounts_of(const EngineRun& run, const BundleHost& host, const engine::EngineFacts& facts) {
  std::error_code failed;
  json mounts = json::array();
  mounts.push_back(bind_of(run.directory.io(), kIoTarget, true));
  if (!run.api.empty()) mounts.push_back(bind_of(run.api, kApiTarget, false));
  mounts.push_back(bind_of(host.init, kInitTarget, false));
  if (!host.python_package.empty() && std::filesystem::is_directory(host.python_package, failed))
    mounts.push_back(bind_of(host.python_package, kPythonTarget, false));
  mounts.push_back(bind_of(run.directory.passwd(), "/etc/passwd", false));
  for (const std::string& path : run.read_only_paths) mounts.push_back(bind_of(path, path, false));
  for (const Mount& mount : binds_of(run)) mounts.push_back(bind_of(mount.source, mount.target, mount.writable));
  if (!run.layers.empty())
    mounts.push_back(overlay_volume(run.working_directory, run.layers, run.directory.upper(), run.directory.work(),
                                    facts.rootless, labels_of(run_labels(host.data.home(), run.id))));
  return mounts;
}

json words_of(const EngineRun& run) {
  json words{"--connect", std::string(kIoTarget) + "/init"};
  if (!run.layers.empty()) words.push_back("--overlay");
  // By init, which may lower what the Engine gives it without knowing how much that is.
  const auto& ulimits = run.definition.engine.ulimits;
  const bool core_given = std::any_of(ulimits.begin(), ulimits.end(),
                                      [](const EngineOptions::Ulimit& ulimit) { return ulimit.name == "core"; });
  if (!core_given) words.push_back("--no-core");
  for (const std::string& candidate : run.candidates) {
    words.push_back("--try");
    words.push_back(candidate);
  }
  words.push_back(std::string(kIoTarget) + "/log");
  for (const std::string& argument : run.arguments) words.push_back(argument);
  return words;
}

// Files the run makes must be the caller's. A rootless engine maps its containers' root to the caller; Podman's can be
// asked to keep ids as they are.
struct Ids {
  unsigned uid;
  unsigned gid;
};
Ids ids_of(const BundleHost& host, const engine::EngineFacts& facts) {
  if (facts.rootless && !facts.podman) return {0, 0};
  return {host.uid, host.gid};
}

// Docker gives a tmpfs the mode of the directory it covers, whatever is asked for: the owner must be the script's.
// Podman knows no owners and keeps the mode; nobody else is in the container.
std::string tmpfs_options(const std::string& size, const BundleHost& host, const engine::EngineFacts& facts) {
  if (facts.podman) return "nosuid,nodev,noexec,mode=1777,size=" + size;
  const Ids ids = ids_of(host, facts);
  return "nosuid,nodev,noexec,mode=0700,size=" + size + ",uid=" + std::to_string(ids.uid) +
         ",gid=" + std::to_string(ids.gid);
}

std::int64_t shm_bytes_of(const RunDefinition& definition, const BundleHost& host) {
  return definition.shm_bytes.value_or(definition.memory_bytes.value_or(host.memory_total) / 2);
}

std::string network_of(const RunDefinition& definition) {
  if (!definition.network) return "none";
  // As in the sandbox: the host's. A bridge costs 80 ms more a start; who wants one names it.
  return definition.engine.network.empty() ? "host" : definition.engine.network;
}

// A --mount of an ancestor must not show the data directory.
std::vector<std::string> places_to_hide(const RunDefinition& definition, const std::filesystem::path& data_home) {
  std::error_code failed;
  const std::string home = std::filesystem::weakly_canonical(data_home, failed).string();
  std::vector<std::string> places;
  for (const Mount& mount : definition.mounts) {
    std::string source = std::filesystem::weakly_canonical(mount.source, failed).string();
    if (source == "/") source.clear();
    if (home.starts_with(source + "/")) places.push_back(mount.target + home.substr(source.size()));
  }
  return places;
}

// The kernel counts signals and messages for the user, in and outside of containers alike: these leave the others some.
// Not on Podman: as soon as it is given one limit, it forgets those of its own configuration.
json ulimits_of(const std::vector<EngineOptions::Ulimit>& asked_for, const engine::EngineFacts& facts) {
  json limits = json::array();
  if (facts.podman && asked_for.empty()) return limits;
  for (const auto& [name, most] :
       {std::pair("sigpending", most_pending_signals_of_runs()), std::pair("msgqueue", most_message_bytes_of_runs())})
    if (std::none_of(asked_for.begin(), asked_for.end(),
                     [name = name](const auto& limit) { return limit.name == name; }))
      limits.push_back({{"Name", name}, {"Soft", most}, {"Hard", most}});
  for (const EngineOptions::Ulimit& limit : asked_for)
    limits.push_back({{"Name", limit.name}, {"Soft", limit.soft}, {"Hard", limit.hard}});
  return limits;
}

template <class List>
void put(json& object, const char* key, const List& list) {
  if (!list.empty()) object[key] = list;
}

// As `docker run --gpus device=0,1` asks for NVIDIA's, and --device for those that only CDI knows.
json device_requests_of(const std::vector<Gpu>& gpus) {
  json nvidia = json::array();
  json others = json::array();
  for (const Gpu& gpu : gpus) {
    const std::string prefix = gpu.kind + "=";
    const std::string name = gpu.id.starts_with(prefix) ? gpu.id.substr(prefix.size()) : gpu.id;
    if (gpu.kind == kNvidiaGpu)
      nvidia.push_back(name);
    else
      others.push_back(prefix + name);
  }
  json requests = json::array();
  if (!nvidia.empty()) requests.push_back({{"DeviceIDs", nvidia}, {"Capabilities", {{"gpu"}}}});
  if (!others.empty()) requests.push_back({{"Driver", "cdi"}, {"DeviceIDs", others}});
  return requests;
}

json host_config_of(const EngineRun& run, const BundleHost& host, const engine::EngineFacts& facts) {
  const RunDefinition& definition = run.definition;
  const EngineOptions& extra = definition.engine;
  json config{{"Mounts", mounts_of(run, host, facts)},
              {"NetworkMode", network_of(definition)},
              {"CapDrop", {"ALL"}},
              {"SecurityOpt", {"no-new-privileges"}},
              {"Privileged", false},
              {"IpcMode", "private"},
              {"ShmSize", shm_bytes_of(definition, host)},
              {"LogConfig", {{"Type", "none"}}},  // the log goes through the run directory's FIFO
              {"AutoRemove", false},
              {"RestartPolicy", {{"Name", "no"}}},
              {"OomScoreAdj", oom_score_of_runs()},
              {"Init", false}};
  if (facts.podman)
    config["UsernsMode"] = facts.rootless ? "keep-id" : "";
  else if (!facts.rootless)
    config["UsernsMode"] = "host";  // an engine that maps user ids would make the caller's files somebody else's
  if (definition.memory_bytes) {
    config["Memory"] = *definition.memory_bytes;
    config["MemorySwap"] = *definition.memory_bytes;  // memory and swap together, as in the sandbox
  }
  if (definition.cpus) config["NanoCpus"] = std::llround(*definition.cpus * 1e9);
  if (!run.gpus.empty()) config["DeviceRequests"] = device_requests_of(run.gpus);
  if (definition.pids) config["PidsLimit"] = *definition.pids + 1;  // runner-init is one more than what the user counts
  if (extra.memory_reservation) config["MemoryReservation"] = *extra.memory_reservation;
  if (extra.cpu_shares) config["CpuShares"] = *extra.cpu_shares;
  if (!extra.cpuset_cpus.empty()) config["CpusetCpus"] = extra.cpuset_cpus;
  config["Ulimits"] = ulimits_of(extra.ulimits, facts);
  put(config, "ExtraHosts", extra.extra_hosts);
  put(config, "Dns", extra.dns);
  put(config, "DnsSearch", extra.dns_search);
  put(config, "DnsOptions", extra.dns_options);
  put(config, "Tmpfs", extra.tmpfs);
  for (const std::string& place : places_to_hide(definition, host.data.home()))
    config["Tmpfs"][place] = "ro," + tmpfs_options("64k", host, facts);
  if (!definition.secrets.empty())
    config["Tmpfs"][shim::kSecretsTarget] = "rw," + tmpfs_options("16m", host, facts);  // filled by runner-init
  return config;
}

}  // namespace

std::string make_sweep_config(const os::RunDirectory& directory, const std::string& image_id, const BundleHost& host) {
  const json mounts{bind_of(host.init, kInitTarget, false),
                    overlay_volume("/run/runner", {directory.sweep() / "lower"}, directory.sweep() / "upper",
                                   directory.work(), false, labels_of(probe_labels(host)))};
  const json config{{"Image", image_id},
                    {"Entrypoint", {kInitTarget}},
                    {"Cmd", json::array()},
                    {"User", std::to_string(host.uid) + ":" + std::to_string(host.gid)},
                    {"NetworkDisabled", true},
                    {"Labels", labels_of(probe_labels(host))},
                    {"HostConfig",
                     {{"Mounts", mounts},
                      {"NetworkMode", "none"},
                      {"CapDrop", {"ALL"}},
                      {"SecurityOpt", {"no-new-privileges"}},
                      {"ReadonlyRootfs", true},
                      {"LogConfig", {{"Type", "none"}}}}}};
  return config.dump();
}

std::vector<MountPoint> own_mount_points(const EngineRun& run) {
  std::error_code failed;  // what may not be looked at counts as missing
  const std::vector<Mount> binds = binds_of(run);
  std::vector<MountPoint> wanted{{run.working_directory, MountPoint::Kind::kDirectory, {}}};
  for (const Mount& bind : binds)
    wanted.push_back(
        {bind.target,
         std::filesystem::is_directory(bind.source, failed) ? MountPoint::Kind::kDirectory : MountPoint::Kind::kFile,
         {}});
  std::vector<MountPoint> points;
  for (const MountPoint& point : wanted) {
    const Mount* cover = nullptr;  // the deepest bind that the mount point lies in
    for (const Mount& bind : binds)
      if (point.path.starts_with(bind.target + "/") && (!cover || bind.target.size() > cover->target.size()))
        cover = &bind;
    // A working directory is the run's own, and the Engine makes what an overlay lacks in the upper layer.
    if (cover == nullptr ||
        (point.path != run.working_directory && point.path.starts_with(run.working_directory + "/")))
      continue;
    const std::string place = cover->source + point.path.substr(cover->target.size());
    const bool ours = cover->source.starts_with(run.directory.root().string() + "/");
    if (ours)
      points.push_back({place, point.kind, {}});
    else if (!std::filesystem::exists(place, failed))
      throw Error(ErrorCode::kInvalid,
                  "cannot show " + point.path + ": " + cover->source + " is mounted above it and has no such place",
                  "choose a target outside of " + cover->target);
  }
  return points;
}

std::vector<std::string> run_labels(const std::filesystem::path& home, const std::string& run_id) {
  return {"runner.home=" + home.string(), "runner.run=" + run_id};
}

std::vector<std::string> probe_labels(const BundleHost& host) {
  return {"runner.home=" + host.data.home().string(), std::string(kProbeLabel) + "=" + host.token};
}

std::string make_container_config(const EngineRun& run, const BundleHost& host, const engine::EngineFacts& facts) {
  json environment = json::array();
  for (const auto& [name, value] : run.variables) environment.push_back(name + "=" + value);
  json labels = run.definition.engine.labels;
  if (labels.is_null()) labels = json::object();
  labels.update(labels_of(run_labels(host.data.home(), run.id)));
  json config{{"Image", run.image.id},
              {"Entrypoint", {kInitTarget}},
              {"Cmd", words_of(run)},
              {"User", std::to_string(ids_of(host, facts).uid) + ":" + std::to_string(ids_of(host, facts).gid)},
              {"WorkingDir", run.working_directory},
              {"Env", std::move(environment)},
              {"Labels", std::move(labels)},
              {"Tty", false},
              {"OpenStdin", false},
              {"StopSignal", "SIGTERM"},              // whatever the image says: runner-init passes it on
              {"Healthcheck", {{"Test", {"NONE"}}}},  // an image's own would run beside the script
              {"HostConfig", host_config_of(run, host, facts)}};
  if (!run.definition.engine.hostname.empty()) config["Hostname"] = run.definition.engine.hostname;
  try {
    return config.dump();
  } catch (const json::type_error&) {
    throw Error(ErrorCode::kInvalid, "arguments, variables and paths of a run in a container must be UTF-8");
  }
}

}  // namespace runner::exec
