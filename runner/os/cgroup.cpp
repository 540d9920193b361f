#include "runner/os/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <set>

#include "runner/core/error.hpp"
#include "runner/os/control_file.hpp"
#include "runner/os/file.hpp"

namespace runner::os {
namespace {

using std::filesystem::path;

constexpr std::array kControllers{"memory", "pids", "cpu", "cpuacct", "freezer"};
// Beside those that limit: what somebody else's cgroups (cgroups_of) can tell.
constexpr std::array kReadable{"memory", "pids", "cpu", "cpuacct", "freezer", "blkio"};
constexpr std::string_view kDaemonLeaf = "runner-daemon";
constexpr std::int64_t kPeriodMicros = 100'000;  // the kernel's default cfs period

bool contains(const std::vector<std::string_view>& parts, std::string_view wanted) {
  return std::find(parts.begin(), parts.end(), wanted) != parts.end();
}

// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct Hierarchy {
  int version;
  std::vector<std::string_view> options;  // v1: controllers and name=… among the super block options
  std::string root;
  path mount;
};

std::vector<Hierarchy> parse_mounts(std::string_view mountinfo) {
  std::vector<Hierarchy> found;
  for (const auto line : split(mountinfo, '\n')) {
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = split(line.substr(0, dash), ' ');
    const auto after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const int version = after[0] == "cgroup2" ? 2 : after[0] == "cgroup" ? 1 : 0;
    if (version == 0) continue;
    found.push_back({version, split(after[2], ','), unescape(before[3]), path(unescape(before[4]))});
  }
  return found;
}

// The caller's directory in one hierarchy; nothing if it lies outside of what is mounted here (inside a container).
std::optional<path> own_directory(const Hierarchy& hierarchy, std::string_view self_cgroup) {
  for (const auto line : split(self_cgroup, '\n')) {
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto names = split(line.substr(first + 1, second - first - 1), ',');
    std::string_view own = line.substr(second + 1);
    const bool matches = hierarchy.version == 2 ? names.empty() && line.starts_with("0:")
                                                : !names.empty() && contains(hierarchy.options, names.front());
    if (!matches) continue;
    if (hierarchy.root != "/") {
      if (!own.starts_with(hierarchy.root)) return std::nullopt;
      own.remove_prefix(hierarchy.root.size());
    }
    if (own.starts_with("/..")) return std::nullopt;
    while (own.starts_with('/')) own.remove_prefix(1);
    return own.empty() ? hierarchy.mount : hierarchy.mount / own;
  }
  return std::nullopt;
}

bool may_make_in(const path& directory) { return ::access(directory.c_str(), W_OK | X_OK) == 0; }

void find_v1(const std::vector<Hierarchy>& mounts, std::string_view self_cgroup, CgroupBase& base) {
  for (const char* controller : kControllers) {
    const auto at = std::find_if(mounts.begin(), mounts.end(), [controller](const Hierarchy& h) {
      return h.version == 1 && contains(h.options, controller);
    });
    if (at == mounts.end()) {
      base.reasons[controller] = std::string("the kernel offers no ") + controller + " cgroup here";
      continue;
    }
    const auto own = own_directory(*at, self_cgroup);
    if (own && may_make_in(*own))
      base.directories[controller] = *own;
    else
      base.reasons[controller] = "this user may not make " + std::string(controller) + " cgroups (" +
                                 (own ? *own : at->mount).string() + " is not writable)";
  }
}

void find_v2(const path& own, CgroupBase& base) {
  const path parent = own.filename() == kDaemonLeaf ? own.parent_path() : own;
  std::string why;
  if (!may_make_in(parent)) why = "this user may not make cgroups (" + parent.string() + " is not delegated)";
  const auto handed_down = read_file_if_exists(parent / "cgroup.subtree_control").value_or("");
  std::string text = handed_down;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto enabled = split(text, ' ');
  if (why.empty()) base.directories[""] = parent;
  for (const char* controller : kControllers) {
    const std::string name = controller;
    const bool always = name == "cpuacct" || name == "freezer";  // part of every v2 cgroup
    if (!why.empty())
      base.reasons[name] = why;
    else if (always || contains(enabled, name))
      base.directories[name] = parent;
    else
      base.reasons[name] = "the " + name + " controller is not handed down to " + parent.string();
  }
}

void write_control(const path& file, const std::string& value) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) throw errno_error(errno, "open " + file.string(), ErrorCode::kUnavailable);
  const Fd owned(fd);
  if (::write(fd, value.data(), value.size()) < 0)
    throw errno_error(errno, "write " + value + " to " + file.string(), ErrorCode::kUnavailable);
}

const path& directory_for(const RunCgroups& cgroups, const std::string& controller, const char* option) {
  const auto at = cgroups.directories.find(controller);
  if (at == cgroups.directories.end())
    throw Error(ErrorCode::kUnavailable, std::string(option) + ": there is no " + controller + " cgroup for this run");
  return at->second;
}

void write_limits(const RunCgroups& cgroups, const CgroupLimits& limits) {
  const bool v1 = cgroups.version == 1;
  if (limits.memory_bytes) {
    const path& memory = directory_for(cgroups, "memory", "--memory");
    const std::string bytes = std::to_string(*limits.memory_bytes);
    write_control(memory / (v1 ? "memory.limit_in_bytes" : "memory.max"), bytes);
    // Swap counts: a limit that only moves the run onto the disk is none. Kernels without swap accounting lack the
    // file.
    const path swap = memory / (v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max");
    if (::access(swap.c_str(), F_OK) == 0) write_control(swap, v1 ? bytes : "0");
  }
  if (limits.pids) {
    // runner-init is one more than what the user counts.
    write_control(directory_for(cgroups, "pids", "--pids") / "pids.max", std::to_string(*limits.pids + 1));
  }
  if (limits.cpus) {
    const path& cpu = directory_for(cgroups, "cpu", "--cpus");
    const auto quota = std::max<std::int64_t>(1000, std::llround(*limits.cpus * static_cast<double>(kPeriodMicros)));
    if (v1) {
      write_control(cpu / "cpu.cfs_period_us", std::to_string(kPeriodMicros));
      write_control(cpu / "cpu.cfs_quota_us", std::to_string(quota));
    } else {
      write_control(cpu / "cpu.max", std::to_string(quota) + " " + std::to_string(kPeriodMicros));
    }
  }
}

std::set<path> unique_directories(const RunCgroups& cgroups) {
  std::set<path> unique;
  for (const auto& [controller, directory] : cgroups.directories) unique.insert(directory);
  unique.insert(cgroups.foreign.begin(), cgroups.foreign.end());
  return unique;
}

void kill_members(const path& directory) {
  if (const path kill_file = directory / "cgroup.kill"; ::access(kill_file.c_str(), W_OK) == 0) {
    const Fd fd(::open(kill_file.c_str(), O_WRONLY | O_CLOEXEC));
    if (fd && ::write(fd.get(), "1", 1) == 1) return;
  }
  const std::string members = trimmed_file(directory / "cgroup.procs");
  for (const auto line : split(members, '\n'))
    if (const auto pid = as_number(line); pid && *pid > 1 && *pid != ::getpid())
      ::kill(static_cast<pid_t>(*pid), SIGKILL);
}

std::string read_proc(const char* file) { return read_file(path("/proc/self") / file); }

}  // namespace

CgroupBase find_cgroup_base() { return find_cgroup_base(read_proc("mountinfo"), read_proc("cgroup")); }

CgroupBase find_cgroup_base(std::string_view mountinfo, std::string_view self_cgroup) {
  const auto mounts = parse_mounts(mountinfo);
  CgroupBase base;
  for (const Hierarchy& hierarchy : mounts)
    if (const auto own = own_directory(hierarchy, self_cgroup)) base.hierarchies.push_back(*own);
  const bool memory_v1 = std::any_of(
      mounts.begin(), mounts.end(), [](const Hierarchy& h) { return h.version == 1 && contains(h.options, "memory"); });
  const auto unified = std::find_if(mounts.begin(), mounts.end(), [](const Hierarchy& h) { return h.version == 2; });
  if (memory_v1) {
    base.version = 1;
    find_v1(mounts, self_cgroup, base);
  } else if (unified != mounts.end()) {
    base.version = 2;
    if (const auto own = own_directory(*unified, self_cgroup)) {
      find_v2(*own, base);
      return base;
    }
  }
  for (const char* controller : kControllers)
    if (!base.directories.contains(controller) && !base.reasons.contains(controller))
      base.reasons[controller] = "no cgroup file system is mounted here";
  return base;
}

RunCgroups plan_run_cgroups(const CgroupBase& base, const std::string& name) {
  RunCgroups cgroups{.version = base.version, .directories = {}, .foreign = {}};
  std::set<path> own;
  for (const auto& [controller, directory] : base.directories) {
    cgroups.directories[controller] = directory / name;
    own.insert(directory);
  }
  for (const path& directory : base.hierarchies)
    if (!own.contains(directory)) cgroups.foreign.push_back(directory / name);
  return cgroups;
}

void make_run_cgroups(const RunCgroups& cgroups, const CgroupLimits& limits) {
  std::set<path> made;
  for (const auto& [controller, directory] : cgroups.directories) {
    if (!made.insert(directory).second) continue;
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
      throw errno_error(errno, "mkdir " + directory.string(), ErrorCode::kUnavailable);
  }
  write_limits(cgroups, limits);
}

void join_run_cgroups(const RunCgroups& cgroups, pid_t pid) {
  std::set<path> unique;
  for (const auto& [controller, directory] : cgroups.directories) unique.insert(directory / "cgroup.procs");
  for (const path& members : unique) write_control(members, std::to_string(pid));
}

path warm_file(const CgroupBase& base) {
  return base.version == 0 || base.hierarchies.empty() ? path() : base.hierarchies.front() / "cgroup.procs";
}

void warm_cgroups(const path& file) {
  if (file.empty()) return;
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  // "0" is the caller, and the caller is in this very cgroup. A refusal costs only the milliseconds this was to save.
  if (fd) [[maybe_unused]]
    const ssize_t wrote = ::write(fd.get(), "0", 1);
}

RunCgroups cgroups_of(pid_t pid) {
  return cgroups_of(read_proc("mountinfo"), read_file(path("/proc") / std::to_string(pid) / "cgroup"));
}

RunCgroups cgroups_of(std::string_view mountinfo, std::string_view process_cgroup) {
  const auto mounts = parse_mounts(mountinfo);
  RunCgroups cgroups;
  // On hybrid machines the v2 tree has no controllers: it counts only where v1 has none, whatever the order of mounts.
  for (const int version : {1, 2})
    for (const Hierarchy& hierarchy : mounts) {
      const auto own = hierarchy.version == version ? own_directory(hierarchy, process_cgroup) : std::nullopt;
      if (!own || (version == 2 && cgroups.version == 1)) continue;
      for (const char* controller : kReadable) {
        if (version == 1 && !contains(hierarchy.options, controller)) continue;
        cgroups.version = version;
        cgroups.directories.insert_or_assign(controller, *own);
      }
    }
  return cgroups;
}

bool freeze(const RunCgroups& cgroups) {
  const auto at = cgroups.directories.find("freezer");
  if (at == cgroups.directories.end()) return false;
  const bool v1 = cgroups.version == 1;
  try {
    write_control(at->second / (v1 ? "freezer.state" : "cgroup.freeze"), v1 ? "FROZEN" : "1");
  } catch (const Error&) {
    return false;
  }
  constexpr int kAttempts = 1000;  // one or two in practice; a process deep in the kernel takes as long as it takes
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const bool frozen = v1 ? trimmed_file(at->second / "freezer.state") == "FROZEN"
                           : keyed_number(at->second / "cgroup.events", "frozen").value_or(0) == 1;
    if (frozen) return true;
    ::poll(nullptr, 0, 1);
  }
  thaw(cgroups);
  return false;
}

void thaw(const RunCgroups& cgroups) {
  const auto at = cgroups.directories.find("freezer");
  if (at == cgroups.directories.end()) return;
  const path file = at->second / (cgroups.version == 1 ? "freezer.state" : "cgroup.freeze");
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return;
  const std::string_view value = cgroups.version == 1 ? "THAWED" : "0";
  // Failing is no news here: the caller goes on to kill, and a cgroup that cannot be thawed cannot have been frozen by
  // us.
  [[maybe_unused]] const ssize_t wrote = ::write(fd.get(), value.data(), value.size());
}

bool remove_run_cgroups(const RunCgroups& cgroups) {
  constexpr int kAttempts = 200;
  constexpr int kPauseMillis = 10;  // a killed process leaves its cgroup when it is reaped, which nobody announces
  bool all_gone = true;
  for (const path& directory : unique_directories(cgroups)) {
    for (int attempt = 0;; ++attempt) {
      if (::rmdir(directory.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) break;
      if (errno != EBUSY || attempt == kAttempts) {
        all_gone = false;
        break;
      }
      if (attempt == 0) thaw(cgroups);
      kill_members(directory);
      ::poll(nullptr, 0, attempt == 0 ? 1 : kPauseMillis);
    }
  }
  return all_gone;
}

std::optional<std::string> delegate_to_runs() { return delegate_to_runs(read_proc("mountinfo"), read_proc("cgroup")); }

std::optional<std::string> delegate_to_runs(std::string_view mountinfo, std::string_view self_cgroup) {
  const auto mounts = parse_mounts(mountinfo);
  if (find_cgroup_base(mountinfo, self_cgroup).version != 2) return std::nullopt;
  const auto unified = std::find_if(mounts.begin(), mounts.end(), [](const Hierarchy& h) { return h.version == 2; });
  const auto own = own_directory(*unified, self_cgroup);
  if (!own) return "the cgroup of this process is not visible here";
  if (own->filename() == kDaemonLeaf) return std::nullopt;
  if (!may_make_in(*own)) return own->string() + " is not delegated to this user";
  const std::string members = trimmed_file(*own / "cgroup.procs");
  for (const auto line : split(members, '\n'))
    if (const auto pid = as_number(line); pid && *pid != ::getpid())
      return "other processes share the cgroup " + own->string();
  try {
    const path leaf = *own / kDaemonLeaf;
    if (::mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) throw errno_error(errno, "mkdir " + leaf.string());
    write_control(leaf / "cgroup.procs", std::to_string(::getpid()));
    const std::string offered = trimmed_file(*own / "cgroup.controllers");
    std::string wanted;
    for (const char* controller : {"memory", "pids", "cpu"})
      if (contains(split(offered, ' '), controller)) wanted += (wanted.empty() ? "+" : " +") + std::string(controller);
    if (!wanted.empty()) write_control(*own / "cgroup.subtree_control", wanted);
  } catch (const Error& error) {
    return error.message();
  }
  return std::nullopt;
}

}  // namespace runner::os
