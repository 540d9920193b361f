#include "runner/exec/mount_plan.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/shim/init_protocol.hpp"

namespace runner::exec {
namespace {

using std::filesystem::path;

// Recursive, so that nothing mounted below stays writable (platform.md, 18).
const std::vector<std::string> kReadOnlyBind{"rbind", "rro", "nosuid", "nodev"};
const std::vector<std::string> kReadOnlyFile{"bind", "ro", "nosuid", "nodev"};
const std::vector<std::string> kWritableBind{"rbind", "rw", "nosuid", "nodev"};

constexpr std::array kTopLevel{"bin", "lib", "lib32", "lib64", "libx32", "sbin"};

constexpr std::array kSecrets{"/etc/shadow",
                              "/etc/shadow-",
                              "/etc/gshadow",
                              "/etc/gshadow-",
                              "/etc/ssh",
                              "/etc/sudoers",
                              "/etc/sudoers.d",
                              "/etc/ssl/private",
                              "/etc/docker",
                              "/etc/krb5.keytab",
                              "/etc/NetworkManager/system-connections",
                              "/etc/wpa_supplicant",
                              "/etc/wireguard",
                              "/etc/openvpn",
                              "/etc/crypttab",
                              "/etc/security/opasswd",
                              "/etc/polkit-1",
                              "/etc/letsencrypt"};
constexpr std::array kMaskedKernel{"/proc/acpi",
                                   "/proc/asound",
                                   "/proc/kcore",
                                   "/proc/keys",
                                   "/proc/latency_stats",
                                   "/proc/timer_list",
                                   "/proc/timer_stats",
                                   "/proc/sched_debug",
                                   "/proc/scsi",
                                   "/sys/firmware",
                                   "/sys/devices/virtual/powercap"};
constexpr std::array kReadOnlyKernel{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

std::string normal(const path& any) {
  std::string text = any.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

// `inner` is `outer` or below it.
bool covers(const std::string& outer, const std::string& inner) {
  return outer == "/" || inner == outer || (inner.starts_with(outer) && inner[outer.size()] == '/');
}

std::ptrdiff_t depth(const std::string& target) { return std::count(target.begin(), target.end(), '/'); }

std::optional<std::string> canonical(const std::string& any) {
  std::error_code error;
  const path found = std::filesystem::canonical(any, error);
  if (error) return std::nullopt;
  return found.string();
}

bool is_directory(const std::string& any) {
  struct ::stat info {};
  return ::stat(any.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool exists(const std::string& any) { return ::access(any.c_str(), F_OK) == 0; }

class Planner {
 public:
  Planner(const SandboxRun& run, const MountContext& context)
      : run_(run),
        context_(context),
        data_home_(canonical(context.data_home.string()).value_or(normal(context.data_home))) {}

  MountPlan plan();

 private:
  struct Entry {
    PlannedMount mount{};
    std::string backing{};       // host directory in which mount points below may be made; empty if not ours
    bool runtime_makes = false;  // overlay, tmpfs, /dev: the runtime makes mount points below itself
  };

  void add(Entry entry);
  void add_bind(const std::string& source, const std::string& target, bool writable, const std::string& backing = {});
  void add_kernel_file_systems();
  void add_system();
  void add_name_resolution();
  void add_optional(const std::string& host_path);
  void add_user_mount(const Mount& mount);
  void add_private();
  void hide_data_home();
  std::string through_links(const std::string& target) const;
  void place_mount_points(MountPlan& plan) const;
  const Entry* cover_of(const Entry& entry) const;

  const SandboxRun& run_;
  const MountContext& context_;
  std::string data_home_;
  std::map<std::string, std::string> links_;  // "/bin" → "usr/bin", as on the host
  std::vector<Entry> entries_;
};

void Planner::add(Entry entry) {
  // The later one is meant: the sandbox's own directories replace what the environment lists, --mount replaces both.
  std::erase_if(entries_, [&](const Entry& old) { return old.mount.target == entry.mount.target; });
  entries_.push_back(std::move(entry));
}

void Planner::add_bind(const std::string& source, const std::string& target, bool writable,
                       const std::string& backing) {
  const bool file = !is_directory(source);
  const auto& read_only = file && !context_.recursive_files ? kReadOnlyFile : kReadOnlyBind;
  add({.mount = {.target = normal(target),
                 .type = "bind",
                 .source = source,
                 .options = writable ? kWritableBind : read_only,
                 .file = file},
       .backing = backing});
}

std::string Planner::through_links(const std::string& target) const {
  for (const auto& [link, text] : links_)
    if (covers(link, target)) return normal(path("/") / (text + target.substr(link.size())));
  return target;
}

void Planner::add_kernel_file_systems() {
  const auto special = [this](const char* target, const char* type, std::vector<std::string> options, bool makes) {
    add({.mount = {.target = target, .type = type, .source = type, .options = std::move(options)},
         .runtime_makes = makes});
  };
  special("/proc", "proc", {"nosuid", "noexec", "nodev"}, false);
  special("/dev", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, true);
  special("/dev/pts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}, false);
  special("/dev/shm", "tmpfs", {"nosuid", "noexec", "nodev", "mode=1777", "size=" + std::to_string(context_.shm_bytes)},
          true);
  special("/dev/mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, false);
  if (exists("/sys")) {
    add({.mount = {.target = "/sys",
                   .type = "bind",
                   .source = "/sys",
                   .options = {"rbind", "rro", "nosuid", "noexec", "nodev"}}});
    // Even read-only, the host's cgroups would tell of other runs.
    if (exists("/sys/fs/cgroup"))
      special("/sys/fs/cgroup", "tmpfs", {"nosuid", "noexec", "nodev", "mode=755", "size=4k"}, false);
  }
}

void Planner::add_system() {
  for (const char* name : kTopLevel) {
    const std::string top = std::string("/") + name;
    std::error_code error;
    const path link = std::filesystem::read_symlink(top, error);
    if (!error)
      links_[top] = link.is_absolute() ? link.string().substr(1) : link.string();
    else if (is_directory(top))
      add_bind(top, top, false);
  }
  for (const char* directory : {"/usr", "/opt", "/etc"})
    if (is_directory(directory)) add_bind(directory, directory, false);
}

// /etc/resolv.conf is often a link to a file that a service below /run keeps rewriting: its directory, not the file.
void Planner::add_name_resolution() {
  if (!run_.limits.network) return;
  const auto target = canonical("/etc/resolv.conf");
  if (!target || covers("/etc", *target) || covers("/usr", *target)) return;
  const path directory = path(*target).parent_path();
  const bool own_directory = covers("/run", directory.string()) && depth(directory.string()) >= 2;
  const std::string source = own_directory ? directory.string() : *target;
  add_bind(source, source, false);
}

// Interpreter prefixes, sys.path entries and model caches: visible at their own path and at the one their links lead
// to.
void Planner::add_optional(const std::string& host_path) {
  const std::string wanted = normal(host_path);
  if (wanted == "/" || !path(wanted).is_absolute()) return;
  const auto real = canonical(wanted);
  if (!real || *real == "/") return;
  const auto visible = [this](const std::string& target) {
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.mount.type == "bind" && entry.mount.source == entry.mount.target &&
             covers(entry.mount.target, target);
    });
  };
  const std::string target = through_links(wanted);
  if (!visible(target)) add_bind(wanted, target, false);
  if (*real != target && !visible(*real)) add_bind(*real, *real, false);
}

void Planner::add_user_mount(const Mount& mount) {
  const std::string what = "--mount " + mount.source + ":" + mount.target;
  const auto source = canonical(mount.source);
  if (!source) throw Error(ErrorCode::kInvalid, what + ": " + mount.source + " does not exist or cannot be entered");
  if (covers(data_home_, *source))
    throw Error(ErrorCode::kInvalid, what + ": the runner's own data directory is not for runs");
  const std::string target = through_links(normal(mount.target));
  if (!path(target).is_absolute() || target == "/")
    throw Error(ErrorCode::kInvalid, what + ": the target must be a directory below /");
  for (const char* own :
       {"/proc", "/sys", "/dev", kIoTarget, kApiTarget, kInitTarget, kPythonTarget, shim::kSecretsTarget})
    if (covers(own, target)) throw Error(ErrorCode::kInvalid, what + ": " + own + " belongs to the sandbox");
  for (const std::string& own : {std::string("/run"), run_.working_directory})
    if (target == normal(own)) throw Error(ErrorCode::kInvalid, what + ": " + own + " belongs to the sandbox");
  add_bind(*source, target, mount.writable);
}

void Planner::add_private() {
  add_bind(run_.directory.io().string(), kIoTarget, true);
  entries_.back().mount.file = false;  // the directories need not exist while this only plans
  if (!run_.api.empty()) {
    add_bind(run_.api.string(), kApiTarget, false);  // the directory: each daemon makes the socket anew
    entries_.back().mount.file = false;
  }
  add_bind(context_.init.string(), kInitTarget, false);
  entries_.back().mount.file = true;
  if (!run_.limits.secrets.empty())
    add({.mount = {.target = shim::kSecretsTarget,
                   .type = "tmpfs",
                   .source = "tmpfs",
                   .options = {"nosuid", "nodev", "noexec", "mode=1777", "size=16m"}}});
  if (!context_.passwd.empty()) add_bind(context_.passwd.string(), "/etc/passwd", false);
  if (!context_.python_package.empty() && is_directory(context_.python_package.string()))
    add_bind(context_.python_package.string(), kPythonTarget, false);

  std::string lower;
  for (const path& layer : run_.layers) {
    if (!lower.empty()) lower += ':';
    lower += escape_overlay_path(layer.string());
  }
  PlannedMount overlay{.target = normal(run_.working_directory), .type = "overlay", .source = "overlay", .options = {}};
  overlay.options = {"lowerdir=" + lower, "upperdir=" + escape_overlay_path(run_.directory.upper().string()),
                     "workdir=" + escape_overlay_path(run_.directory.work().string()), "index=off"};
  // With userxattr, redirects and metacopy are off by definition, and naming them is an error.
  if (context_.user_namespace)
    overlay.options.insert(overlay.options.end(), {"userxattr", "nosuid", "nodev"});
  else
    overlay.options.insert(overlay.options.end(), {"metacopy=off", "redirect_dir=off", "nosuid", "nodev"});
  std::size_t bytes = 0;
  for (const std::string& option : overlay.options) bytes += option.size() + 1;
  constexpr std::size_t kMountDataLimit = 4095;  // one page, mount(2)
  if (bytes > kMountDataLimit)
    throw Error(ErrorCode::kInternal,
                "the names of " + std::to_string(run_.layers.size()) + " layers are too long for one mount",
                "use a data directory with a shorter path (RUNNER_HOME)");
  add({.mount = std::move(overlay), .runtime_makes = true});
}

// A bind of an ancestor (an editable install of a home directory, --mount of it) must not show the data directory.
void Planner::hide_data_home() {
  std::vector<Entry> covers_above;
  for (const Entry& entry : entries_) {
    if (entry.mount.type != "bind") continue;
    const auto source = canonical(entry.mount.source);
    if (!source || !covers(*source, data_home_) || *source == data_home_) continue;
    const std::string below = *source == "/" ? data_home_ : data_home_.substr(source->size());
    covers_above.push_back({.mount = {.target = entry.mount.target + below,
                                      .type = "tmpfs",
                                      .source = "tmpfs",
                                      .options = {"nosuid", "nodev", "noexec", "mode=555", "size=64k"}},
                            .runtime_makes = true});
  }
  for (Entry& entry : covers_above)
    if (std::none_of(entries_.begin(), entries_.end(),
                     [&](const Entry& old) { return old.mount.target == entry.mount.target; }))
      add(std::move(entry));
}

const Planner::Entry* Planner::cover_of(const Entry& entry) const {
  const Entry* best = nullptr;
  for (const Entry& other : entries_) {
    if (&other == &entry || other.mount.target == entry.mount.target) continue;
    if (!covers(other.mount.target, entry.mount.target)) continue;
    if (best == nullptr || other.mount.target.size() > best->mount.target.size()) best = &other;
  }
  return best;
}

void Planner::place_mount_points(MountPlan& plan) const {
  for (const Entry& entry : entries_) {
    const std::string& target = entry.mount.target;
    const auto kind = entry.mount.file ? MountPoint::Kind::kFile : MountPoint::Kind::kDirectory;
    const Entry* cover = cover_of(entry);
    if (cover == nullptr)
      plan.skeleton.push_back({target, kind, {}});
    else if (!cover->backing.empty())
      plan.backing.push_back({cover->backing + target.substr(cover->mount.target.size()), kind, {}});
    else if (!cover->runtime_makes && cover->mount.type == "bind" &&
             !exists(cover->mount.source + target.substr(cover->mount.target.size())))
      throw Error(ErrorCode::kInvalid,
                  "cannot show " + entry.mount.source + " as " + target + ": " + cover->mount.target +
                      " is the host's and has no such place",
                  "choose a target outside of " + cover->mount.target);
  }
}

MountPlan Planner::plan() {
  add_system();
  add_kernel_file_systems();
  add_name_resolution();
  // Shallow ones first: those below them are then covered and dropped.
  std::vector<std::string> optional_paths = run_.read_only_paths;
  std::stable_sort(optional_paths.begin(), optional_paths.end(),
                   [](const std::string& a, const std::string& b) { return depth(normal(a)) < depth(normal(b)); });
  for (const std::string& wanted : optional_paths) add_optional(wanted);
  for (const Mount& mount : run_.devices.mounts)
    if (mount.source == mount.target) add_optional(mount.source);  // most are the host's libraries: seen already
  for (const std::string& cache : run_.cache_paths)
    if (exists(cache)) add_bind(cache, through_links(normal(cache)), false);
  add_bind(run_.directory.tmp().string(), "/tmp", true, run_.directory.tmp().string());
  entries_.back().mount.file = false;
  if (!run_.home.empty()) {
    add_bind(run_.directory.home().string(), normal(run_.home), true, run_.directory.home().string());
    entries_.back().mount.file = false;
  }
  // In a user namespace nobody may make a device, and the runtimes bind only what has the same path on the host.
  if (context_.user_namespace)
    for (const DeviceNode& node : run_.devices.nodes)
      add({.mount = {.target = node.path,
                     .type = "bind",
                     .source = node.host_path,
                     .options = {"bind", "rw", "nosuid", "noexec"},
                     .file = true},
           .runtime_makes = true});
  for (const Mount& mount : run_.devices.mounts)
    if (mount.source != mount.target) add_user_mount(mount);
  for (const Mount& mount : run_.mounts) add_user_mount(mount);
  add_private();
  hide_data_home();

  MountPlan plan;
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return depth(a.mount.target) < depth(b.mount.target); });
  place_mount_points(plan);
  for (const auto& [link, text] : links_) plan.skeleton.push_back({link, MountPoint::Kind::kLink, text});
  plan.skeleton.push_back({"/run", MountPoint::Kind::kDirectory, {}});
  plan.skeleton.push_back({"/var/tmp", MountPoint::Kind::kLink, "../tmp"});
  plan.skeleton.push_back({"/var/run", MountPoint::Kind::kLink, "../run"});
  std::sort(plan.skeleton.begin(), plan.skeleton.end(),
            [](const MountPoint& a, const MountPoint& b) { return a.path < b.path; });
  plan.skeleton.erase(std::unique(plan.skeleton.begin(), plan.skeleton.end(),
                                  [](const MountPoint& a, const MountPoint& b) { return a.path == b.path; }),
                      plan.skeleton.end());
  for (const Entry& entry : entries_) plan.mounts.push_back(entry.mount);
  for (const char* masked : kSecrets)
    if (exists(masked)) plan.masked_paths.emplace_back(masked);
  for (const char* masked : kMaskedKernel)
    if (exists(masked)) plan.masked_paths.emplace_back(masked);
  for (const char* kept : kReadOnlyKernel)
    if (exists(kept)) plan.read_only_paths.emplace_back(kept);
  return plan;
}

}  // namespace

MountPlan plan_mounts(const SandboxRun& run, const MountContext& context) { return Planner(run, context).plan(); }

std::string escape_overlay_path(const std::string& any) {
  std::string escaped;
  for (const char c : any) {
    if (c == '\\' || c == ':' || c == ',') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace runner::exec
