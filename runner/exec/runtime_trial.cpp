#include "runner/exec/runtime_trial.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"

namespace runner::exec {
namespace {

using nlohmann::json;
using std::filesystem::path;

constexpr int kCacheVersion = 1;
constexpr const char* kTrialPrefix = "trial-";
constexpr std::chrono::seconds kTrialLimit{20};  // a cold cache on a slow disk; usually 10 ms

struct Candidate {
  std::string name;  // "crun", "runc", or the path that was asked for
  Runtime::Kind kind;
  std::optional<path> program;
};

Runtime::Kind kind_of(const path& program) {
  return program.filename().string().find("runc") != std::string::npos ? Runtime::Kind::kRunc : Runtime::Kind::kCrun;
}

std::vector<Candidate> candidates(const std::string& choice, const std::string& search_path) {
  if (choice.starts_with('/')) {
    const bool there = ::access(choice.c_str(), X_OK) == 0;
    return {{choice, kind_of(choice), there ? std::optional<path>(choice) : std::nullopt}};
  }
  // Debian puts runc where an ordinary user's PATH does not look.
  const std::string everywhere = search_path + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::vector<Candidate> found;
  for (const char* name : {"crun", "runc"})
    if (choice.empty() || choice == name) found.push_back({name, kind_of(name), os::find_program(name, everywhere)});
  return found;
}

// "crun version 1.8.1" → "1.8.1"
std::string version_of(const path& program) {
  try {
    const auto said = os::capture(
        {.arguments = {program.string(), "--version"}, .environment = {}, .directory = {}, .descriptors = {}},
        std::chrono::seconds(5));
    const std::string line = said.out.substr(0, said.out.find('\n'));
    const auto blank = line.rfind(' ');
    return blank == std::string::npos ? line : line.substr(blank + 1);
  } catch (const Error&) {
    return "";
  }
}

// Waits for the shim; kills it when time is up or the daemon stops (its container then dies with it).
bool wait_for(const os::Child& child, std::stop_token stop) {
  const auto deadline = os::monotonic_now() + kTrialLimit;
  constexpr int kStopCheckMillis = 50;  // only while a trial runs
  bool ended = false;
  while (!ended && !stop.stop_requested() && os::monotonic_now() < deadline) {
    pollfd watched{child.pidfd.get(), POLLIN, 0};
    ended = ::poll(&watched, 1, kStopCheckMillis) > 0;
  }
  if (!ended) os::signal_process(child.pidfd, SIGKILL);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return ended;
}

// Why `runtime` does not work here; nothing if it does.
std::optional<std::string> try_one(const Runtime& runtime, const BundleHost& host, const path& shim,
                                   std::stop_token stop) {
  static std::atomic<unsigned> counter{0};
  const std::string id = kTrialPrefix + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  const os::RunDirectory directory(host.data.cache() / id);
  std::optional<std::string> failure;
  try {
    os::remove_tree(directory.root());
    os::make_directories(directory.root());
    const path layer = directory.root() / "layer";
    os::make_directories(layer, 0755);
    SandboxRun run{.id = id,
                   .directory = directory,
                   .layers = {layer},
                   .working_directory = "/run/trial",
                   .arguments = {"/bin/true"},
                   .variables = {},
                   .read_only_paths = {},
                   .cache_paths = {},
                   .mounts = {},
                   .home = "",
                   .limits = {}};
    const os::CgroupBase base = os::find_cgroup_base();
    write_bundle(run, runtime, host, base);
    const bool in_time = wait_for(launch_shim(shim, directory), stop);
    const auto ended = shim::read_ended(directory);
    if (!in_time)
      failure = "a trial container did not end in time";
    else if (!ended)
      failure = "the supervisor " + shim.string() +
                " failed: " + os::read_file_if_exists(directory.runtime_log()).value_or("");
    else if (ended->outcome.kind != OutcomeKind::kExited || ended->outcome.exit_code != 0)
      failure = ended->outcome.message.empty() ? "a trial container failed" : ended->outcome.message;
    os::remove_run_cgroups(os::plan_run_cgroups(base, cgroup_name(id)));
    os::remove_tree(directory.root());
  } catch (const Error& error) {
    if (!failure) failure = error.message();
  }
  return failure;
}

// Of a daemon that was killed in the middle of one.
void remove_old_trials(const BundleHost& host) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(host.data.cache(), error))
    if (entry.path().filename().string().starts_with(kTrialPrefix)) {
      try {
        // One whose supervisor lives cleans up after itself; its runtime must not lose the ground under its feet.
        const auto claim = shim::read_claim(os::RunDirectory(entry.path()));
        if (claim && os::open_process(claim->shim)) continue;
        os::remove_run_cgroups(shim::read_spec(os::RunDirectory(entry.path())).cgroups);
        os::remove_tree(entry.path());
      } catch (const Error&) {
        // Its container may be dying this very moment; the next daemon finds it.
      }
    }
}

std::string stamp_of(const path& file) {
  struct ::stat info {};
  if (::stat(file.c_str(), &info) != 0) return file.string() + " missing";
  return file.string() + " " + std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + " " +
         std::to_string(info.st_size);
}

// Everything on which the answer depends that can be seen at no cost. A change of a sysctl is not among it: only a
// success is ever remembered, and the boot ends it.
std::string key_of(const std::vector<Candidate>& tried, const BundleHost& host, const path& shim) {
  struct ::utsname names {};
  ::uname(&names);
  std::string key = std::string(names.release) + "\n" + os::boot_id() + "\n" + std::to_string(host.uid) + "\n" +
                    stamp_of(shim) + "\n" + stamp_of(host.init);
  for (const Candidate& candidate : tried)
    key += "\n" + (candidate.program ? stamp_of(*candidate.program) : candidate.name);
  return key;
}

path cache_file(const BundleHost& host) { return host.data.cache() / "oci-runtime.json"; }

std::optional<TrialResult> remembered(const BundleHost& host, const std::string& key) {
  try {
    const auto text = os::read_file_if_exists(cache_file(host));
    if (!text) return std::nullopt;
    const json object = json::parse(*text);
    if (object.at("version") != kCacheVersion || object.at("key") != key) return std::nullopt;
    TrialResult result;
    result.runtime = Runtime{.kind = object.at("kind") == "runc" ? Runtime::Kind::kRunc : Runtime::Kind::kCrun,
                             .program = object.at("program").get<std::string>(),
                             .version = object.at("runtimeVersion").get<std::string>()};
    for (const json& check : object.at("checks"))
      result.checks.push_back({check.at("name"), check.at("works"), check.at("detail"), check.at("remedy")});
    return result;
  } catch (const std::exception&) {
    return std::nullopt;  // a damaged cache is no cache
  }
}

void remember(const BundleHost& host, const std::string& key, const TrialResult& result) {
  json checks = json::array();
  for (const Check& check : result.checks)
    checks.push_back(
        {{"name", check.name}, {"works", check.works}, {"detail", check.detail}, {"remedy", check.remedy}});
  const json object{{"version", kCacheVersion},
                    {"key", key},
                    {"kind", result.runtime->kind == Runtime::Kind::kRunc ? "runc" : "crun"},
                    {"program", result.runtime->program.string()},
                    {"runtimeVersion", result.runtime->version},
                    {"checks", checks}};
  try {
    os::publish_file(cache_file(host), object.dump(-1, ' ', false, json::error_handler_t::replace),
                     os::Durability::kAtomic);
  } catch (const Error&) {
    // The next start tries again; that is all a cache is for.
  }
}

}  // namespace

os::Child launch_shim(const path& shim, const os::RunDirectory& directory, int secrets) {
  const os::Fd words = os::open_file(directory.runtime_log(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW);
  std::vector<std::pair<int, int>> descriptors{{words.get(), 2}};
  if (secrets >= 0) descriptors.emplace_back(secrets, shim::kSecretsDescriptor);
  return os::spawn({.arguments = {shim.string(), directory.root().string()},
                    .environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                    .directory = "/",
                    .new_session = true,
                    .descriptors = std::move(descriptors)});
}

TrialResult try_runtimes(const BundleHost& host, const path& shim, const std::string& choice,
                         const std::string& search_path, bool ask_anew, std::stop_token stop) {
  const auto tried = candidates(choice, search_path);
  const std::string key = key_of(tried, host, shim);
  if (!ask_anew)
    if (auto known = remembered(host, key)) return *known;
  if (!ask_anew) remove_old_trials(host);
  TrialResult result;
  for (const Candidate& candidate : tried) {
    Check check{.name = candidate.name, .works = false, .detail = {}, .remedy = {}};
    if (!candidate.program) {
      check.detail = "not installed";
      check.remedy = candidate.name.starts_with('/') ? "correct RUNNER_OCI_RUNTIME" : "apt install " + candidate.name;
      result.checks.push_back(check);
      continue;
    }
    const Runtime runtime{
        .kind = candidate.kind, .program = *candidate.program, .version = version_of(*candidate.program)};
    const auto failure = try_one(runtime, host, shim, stop);
    if (stop.stop_requested()) return {};
    check.works = !failure;
    check.detail = candidate.program->string() + " " + runtime.version + (failure ? ": " + *failure : "");
    if (failure)
      check.remedy = result.runtime ? "not needed while " + result.runtime->program.filename().string() + " works"
                                    : "see the other checks; the message is the runtime's own";
    result.checks.push_back(check);
    if (failure) continue;
    if (!result.runtime) result.runtime = runtime;
    if (!ask_anew) break;
  }
  if (result.runtime) remember(host, key, result);
  return result;
}

}  // namespace runner::exec
