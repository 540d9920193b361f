#include "runner/exec/bundle.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "runner/core/error.hpp"
#include "runner/exec/root_skeleton.hpp"
#include "runner/exec/run_directories.hpp"
#include "runner/exec/seccomp.hpp"
#include "runner/os/file.hpp"
#include "runner/os/machine.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec {
namespace {

using nlohmann::json;
using std::filesystem::path;

// As an ordinary user crun keeps the caller's uid inside; runc can map only container id 0 (platform.md, 19).
unsigned inner_id(const Runtime& runtime, unsigned id) { return runtime.kind == Runtime::Kind::kCrun ? id : 0; }

// No core dump of its own accord: a crash shows its stack in the log. A script may still ask for one.
json core_limit() {
  rlimit own{};
  ::getrlimit(RLIMIT_CORE, &own);
  return {{"type", "RLIMIT_CORE"}, {"soft", 0}, {"hard", own.rlim_max}};
}

// What the kernel counts for the user, wherever the processes are, and compares with the limit of the one that wants
// more.
json shared_limit(const char* type, std::uint64_t most) { return {{"type", type}, {"soft", most}, {"hard", most}}; }

json process_of(const SandboxRun& run, const Runtime& runtime, const BundleHost& host) {
  json arguments = json::array({kInitTarget, std::string(kIoTarget) + "/log"});
  for (const std::string& argument : run.arguments) arguments.push_back(argument);
  json environment = json::array();
  for (const auto& [name, value] : run.devices.variables)
    if (!run.variables.contains(name)) environment.push_back(name + "=" + value);
  for (const auto& [name, value] : run.variables) environment.push_back(name + "=" + value);
  json none = json::array();
  return {{"terminal", false},
          {"user", {{"uid", inner_id(runtime, host.uid)}, {"gid", inner_id(runtime, host.gid)}}},
          {"args", std::move(arguments)},
          {"env", std::move(environment)},
          {"cwd", run.working_directory},
          {"capabilities",
           {{"bounding", none}, {"effective", none}, {"inheritable", none}, {"permitted", none}, {"ambient", none}}},
          {"oomScoreAdj", oom_score_of_runs()},
          {"rlimits", json::array({core_limit(), shared_limit("RLIMIT_SIGPENDING", most_pending_signals_of_runs()),
                                   shared_limit("RLIMIT_MSGQUEUE", most_message_bytes_of_runs())})},
          {"noNewPrivileges", true}};
}

json id_mapping(unsigned inside, unsigned outside) {
  return json::array({{{"containerID", inside}, {"hostID", outside}, {"size", 1}}});
}

// The runtime makes them as it makes /dev/null; in a user namespace they are mounts (mount_plan.cpp).
json devices_of(const std::vector<DeviceNode>& nodes) {
  json devices = json::array();
  for (const DeviceNode& node : nodes) {
    struct ::stat info {};
    if (::stat(node.host_path.c_str(), &info) != 0)
      throw errno_error(errno, "GPU: " + node.host_path, ErrorCode::kUnavailable);
    if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode))
      throw Error(ErrorCode::kUnavailable, "GPU: " + node.host_path + " is no device");
    devices.push_back({{"path", node.path},
                       {"type", S_ISCHR(info.st_mode) ? "c" : "b"},
                       {"major", major(info.st_rdev)},
                       {"minor", minor(info.st_rdev)},
                       {"fileMode", info.st_mode & 0777},
                       {"uid", info.st_uid},
                       {"gid", info.st_gid}});
  }
  return devices;
}

json linux_of(const SandboxRun& run, const Runtime& runtime, const BundleHost& host, const MountPlan& plan,
              const os::RunCgroups& cgroups) {
  json namespaces = json::array();
  for (const char* kind : {"mount", "pid", "ipc", "uts"}) namespaces.push_back({{"type", kind}});
  if (!run.limits.network) namespaces.push_back({{"type", "network"}});
  json section{{"maskedPaths", plan.masked_paths}, {"readonlyPaths", plan.read_only_paths}};
  if (host.uid != 0) {
    namespaces.push_back({{"type", "user"}});
    // crun is started inside a namespace in which the caller is 0 already (runner/shim/container_start.cpp).
    const bool crun = runtime.kind == Runtime::Kind::kCrun;
    section["uidMappings"] = id_mapping(inner_id(runtime, host.uid), crun ? 0 : host.uid);
    section["gidMappings"] = id_mapping(inner_id(runtime, host.gid), crun ? 0 : host.gid);
  }
  section["namespaces"] = std::move(namespaces);
  if (host.uid == 0 && !run.devices.nodes.empty()) {
    section["devices"] = devices_of(run.devices.nodes);
    // runc's cgroup lets a container open nothing but what every container may.
    if (runtime.kind == Runtime::Kind::kRunc)
      for (const json& device : section["devices"])
        section["resources"]["devices"].push_back({{"allow", true},
                                                   {"type", device["type"]},
                                                   {"major", device["major"]},
                                                   {"minor", device["minor"]},
                                                   {"access", "rwm"}});
  }
  if (json filter = seccomp_filter(host.machine); !filter.empty()) section["seccomp"] = std::move(filter);
  if (runtime.kind == Runtime::Kind::kRunc && !cgroups.directories.empty()) {
    // v1: relative to runc's own cgroup in every hierarchy, which is ours; v2: from the root of the one mount.
    const path any = cgroups.directories.begin()->second;
    section["cgroupsPath"] = cgroups.version == 1 ? any.filename().string()
                                                  : (path("/") / any.lexically_relative("/sys/fs/cgroup")).string();
  }
  return section;
}

json mounts_of(const MountPlan& plan) {
  json mounts = json::array();
  for (const PlannedMount& mount : plan.mounts)
    mounts.push_back(
        {{"destination", mount.target}, {"type", mount.type}, {"source", mount.source}, {"options", mount.options}});
  return mounts;
}

// Programs ask who they are (getpass, git, ssh). An account that comes from LDAP, or that nobody made, has no line in
// the host's file: then the text of one that has it.
std::optional<std::string> passwd_with_caller(const SandboxRun& run, unsigned uid, unsigned gid) {
  auto known = os::read_file_if_exists("/etc/passwd");
  if (!known) return std::nullopt;
  const std::string wanted = ":" + std::to_string(uid) + ":";
  std::istringstream lines(*known);
  for (std::string line; std::getline(lines, line);) {
    const auto second = line.find(':', line.find(':') + 1);  // name:password:uid:…
    if (second != std::string::npos && line.compare(second, wanted.size(), wanted) == 0) return std::nullopt;
  }
  if (!known->empty() && known->back() != '\n') *known += '\n';
  const auto user = run.variables.find("USER");
  *known += user == run.variables.end() || user->second.empty() ? "user" : user->second;
  *known += ":x" + wanted + std::to_string(gid) + "::" + (run.home.empty() ? "/" : run.home) + ":/bin/sh\n";
  return known;
}

std::int64_t shm_bytes_of(const RunDefinition& limits, const BundleHost& host) {
  if (limits.shm_bytes) return *limits.shm_bytes;
  return (limits.memory_bytes ? *limits.memory_bytes : host.memory_total) / 2;
}

void leave_to_runtime(os::RunCgroups& cgroups, const std::string& controller) {
  const auto at = cgroups.directories.find(controller);
  if (at == cgroups.directories.end()) return;
  cgroups.foreign.push_back(at->second);
  cgroups.directories.erase(at);
}

// v1: moving a process into a cgroup costs a run 10 ms (os::warm_cgroups) for what init can tell nearly as well, so a
// run without limits goes without. And a cpu cgroup without a limit is not neutral: all of the run would weigh as much
// as one other process. v2 makes a run's one cgroup at no cost (the runtime is forked into it).
void leave_unneeded(os::RunCgroups& cgroups, const RunDefinition& limits) {
  if (!limits.cpus) leave_to_runtime(cgroups, "cpu");
  if (!limits.pids) leave_to_runtime(cgroups, "pids");
  if (cgroups.version != 1 || limits.cpus || limits.pids || limits.memory_bytes) return;
  for (const char* controller : {"memory", "cpuacct", "freezer"}) leave_to_runtime(cgroups, controller);
}

std::vector<std::string> runtime_command(const SandboxRun& run, const Runtime& runtime) {
  std::vector<std::string> command{runtime.program.string(), "--root", run.directory.runtime_state().string()};
  if (runtime.kind == Runtime::Kind::kCrun) command.emplace_back("--cgroup-manager=disabled");
  for (const char* argument : {"run", "--detach", "--preserve-fds", "1", "--bundle"}) command.emplace_back(argument);
  command.push_back(run.directory.bundle().string());
  command.push_back(run.id);
  return command;
}

}  // namespace

BundleHost describe_host(os::DataDirectory data, path init, path python_package) {
  struct ::utsname names {};
  ::uname(&names);
  const os::ProcessIdentity self = os::identify_self();
  return {.data = std::move(data),
          .init = std::move(init),
          .python_package = std::move(python_package),
          .machine = names.machine,
          .uid = ::geteuid(),
          .gid = ::getegid(),
          .memory_total = os::physical_memory(),
          .token = std::to_string(self.pid) + "-" + std::to_string(self.start_ticks)};
}

int oom_score_of_runs() {
  constexpr int kFirstChoice = 800;  // of 1000, the kernel's most: in effect four fifths of the memory are added to it
  const auto own = os::read_file_if_exists("/proc/self/oom_score_adj").value_or("0");
  return std::max(kFirstChoice, std::atoi(own.c_str()));
}

std::uint64_t most_pending_signals_of_runs() {
  constexpr std::uint64_t kEnough = 4096;  // a timer (timer_create) counts as one, too
  rlimit own{};
  ::getrlimit(RLIMIT_SIGPENDING, &own);
  return std::min<std::uint64_t>(own.rlim_cur / 4, kEnough);
}

std::uint64_t most_message_bytes_of_runs() {
  constexpr std::uint64_t kUsualHalf = 409'600;  // of 800 KiB, Linux's own default
  rlimit own{};
  ::getrlimit(RLIMIT_MSGQUEUE, &own);
  return std::min<std::uint64_t>(own.rlim_cur / 2, kUsualHalf);
}

std::string cgroup_name(const std::string& run_id, int attempt) {
  return "runner-" + run_id + (attempt > 1 ? "." + std::to_string(attempt) : "");
}

std::string make_config(const SandboxRun& run, const Runtime& runtime, const BundleHost& host, const MountPlan& plan,
                        const path& root, const os::RunCgroups& cgroups) {
  const json config{{"ociVersion", "1.0.2"},
                    {"process", process_of(run, runtime, host)},
                    {"root", {{"path", root.string()}, {"readonly", true}}},
                    {"hostname", "runner"},
                    {"mounts", mounts_of(plan)},
                    {"linux", linux_of(run, runtime, host, plan, cgroups)}};
  try {
    return config.dump();
  } catch (const json::type_error&) {
    throw Error(ErrorCode::kInvalid, "arguments, variables and paths of a sandboxed run must be UTF-8");
  }
}

MountPlan plan_for(const SandboxRun& run, const Runtime& runtime, const BundleHost& host) {
  const bool own_passwd = passwd_with_caller(run, inner_id(runtime, host.uid), inner_id(runtime, host.gid)).has_value();
  return plan_mounts(run, {.data_home = host.data.home(),
                           .init = host.init,
                           .python_package = host.python_package,
                           .passwd = own_passwd ? run.directory.passwd() : path(),
                           .user_namespace = host.uid != 0,
                           .recursive_files = runtime.kind == Runtime::Kind::kRunc,
                           .shm_bytes = shm_bytes_of(run.limits, host)});
}

void write_bundle(const SandboxRun& run, const Runtime& runtime, const BundleHost& host, const os::CgroupBase& base) {
  if (run.arguments.empty()) throw Error(ErrorCode::kInvalid, "a run needs a command");
  make_run_directories(run.directory);
  if (const auto passwd = passwd_with_caller(run, inner_id(runtime, host.uid), inner_id(runtime, host.gid)))
    os::publish_file(run.directory.passwd(), *passwd, os::Durability::kAtomic, 0644);
  const MountPlan plan = plan_for(run, runtime, host);
  make_mount_points({}, plan.backing);
  const path root = root_skeleton(host.data.roots(), plan.skeleton);
  os::RunCgroups cgroups = os::plan_run_cgroups(base, cgroup_name(run.id, run.attempt));
  const bool crun = runtime.kind == Runtime::Kind::kCrun;
  os::publish_file(run.directory.bundle() / "config.json", make_config(run, runtime, host, plan, root, cgroups),
                   os::Durability::kAtomic);
  leave_unneeded(cgroups, run.limits);
  if (crun) cgroups.foreign.clear();  // it is told to leave cgroups alone
  const std::string warm_file =
      crun && cgroups.version == 1 && !cgroups.directories.empty() ? os::warm_file(base).string() : "";
  shim::write_spec(
      run.directory,
      {.run_id = run.id,
       .attempt = run.attempt,
       .runtime_command = runtime_command(run, runtime),
       .hide_cgroups = crun,
       .user_namespace = crun && host.uid != 0,
       .join_cgroups = crun,
       .cgroups = std::move(cgroups),
       .warm_cgroups_file = warm_file,
       .limits = {.memory_bytes = run.limits.memory_bytes, .pids = run.limits.pids, .cpus = run.limits.cpus},
       .max_run_duration = run.limits.max_run_duration,
       .grace = run.limits.grace,
       .max_log_bytes = run.limits.log_limit(),
       .script_name = run.arguments.front(),
       .secrets = !run.limits.secrets.empty() || !run.api.empty()});
}

}  // namespace runner::exec
