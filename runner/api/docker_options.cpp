#include "runner/api/docker_options.hpp"

#include <algorithm>
#include <array>

namespace runner::api {
namespace {

// Reasons that several options share.
constexpr std::string_view kIsolation = "it would undo the run's isolation";
constexpr std::string_view kOurs = "it belongs to the runner";
constexpr std::string_view kUnsupported = "it is not supported";
constexpr std::string_view kLeaveOut = "leave it out";

constexpr std::array kRefused{
    // What a container may do to its host. The runner drops what a script does not need; nothing is given back.
    RefusedOption{"privileged", 0, kIsolation, kLeaveOut},
    RefusedOption{"cap-add", 0, kIsolation, kLeaveOut},
    RefusedOption{"cap-drop", 0, kOurs, "leave it out: capabilities are not the user's to choose"},
    RefusedOption{"security-opt", 0, kIsolation, kLeaveOut},
    RefusedOption{"device", 0, kIsolation, "leave it out; --gpus asks for GPUs"},
    RefusedOption{"device-cgroup-rule", 0, kIsolation, kLeaveOut},
    RefusedOption{"runtime", 0, kOurs, "leave it out: the Engine's default runtime is used"},
    RefusedOption{"pid", 0, kIsolation, kLeaveOut},
    RefusedOption{"ipc", 0, kIsolation, "leave it out; --shm-size makes /dev/shm larger"},
    RefusedOption{"uts", 0, kIsolation, "leave it out; --hostname names the container"},
    RefusedOption{"userns", 0, kIsolation, kLeaveOut},
    RefusedOption{"cgroupns", 0, kIsolation, kLeaveOut},
    RefusedOption{"cgroup-parent", 0, kOurs, kLeaveOut},
    RefusedOption{"sysctl", 0, kIsolation, kLeaveOut},
    RefusedOption{"group-add", 0, kIsolation, kLeaveOut},
    RefusedOption{"use-api-socket", 0, kIsolation, kLeaveOut},
    RefusedOption{"oom-kill-disable", 0, kIsolation, "leave it out; --memory sets the limit"},
    RefusedOption{"oom-score-adj", 0, kIsolation, kLeaveOut},
    RefusedOption{"volumes-from", 0, kIsolation, "name host directories with -v SRC:DST"},
    RefusedOption{"link", 0, kIsolation, "join a network with --network NAME"},

    // What the runner decides for every run.
    RefusedOption{"user", 'u', "a run has the caller's user and group ids", kLeaveOut},
    RefusedOption{"entrypoint", 0, "an image's entry point is not used", "name the program with 'script' or 'command'"},
    RefusedOption{"workdir", 'w', "a run starts in its snapshot", "let the script change its directory"},
    RefusedOption{"name", 0, "the container is named after the run", "name the run with runner submit --name"},
    RefusedOption{"cidfile", 0, kOurs, "'runner run show' tells what ran"},
    RefusedOption{"restart", 0, "a run starts at most once", kLeaveOut},
    RefusedOption{"log-driver", 0, "the runner keeps the log", "'runner logs RUN' prints it"},
    RefusedOption{"log-opt", 0, "the runner keeps the log", "'runner logs RUN' prints it"},
    RefusedOption{"interactive", 'i', "a run's standard input is empty", kLeaveOut},
    RefusedOption{"tty", 't', "a run has no terminal", kLeaveOut},
    RefusedOption{"attach", 'a', "the log has standard output and error", "'runner logs -f RUN' follows it"},
    RefusedOption{"detach", 'd', kOurs, "use runner submit --detach"},
    RefusedOption{"detach-keys", 0, "a run has no terminal", kLeaveOut},
    RefusedOption{"sig-proxy", 0, "a run lives on when its command line ends", "'runner cancel RUN' stops it"},
    RefusedOption{"stop-signal", 0, "a run is asked to end with SIGTERM", "let the script handle SIGTERM"},
    RefusedOption{"stop-timeout", 0, kOurs, "use runner submit --grace T"},
    RefusedOption{"pull", 0, "an image is pulled when it is not there", "docker pull REF renews it"},
    RefusedOption{"quiet", 'q', "the image is the runner's to pull", kLeaveOut},
    RefusedOption{"platform", 0, "an image has the Engine's platform", kLeaveOut},
    RefusedOption{"disable-content-trust", 0, "the image is the runner's to pull",
                  "name it by its digest: REF@sha256:…"},
    RefusedOption{"isolation", 0, kOurs, "use runner submit --isolation"},
    RefusedOption{"annotation", 0, kOurs, "use --label K=V"},
    RefusedOption{"help", 0, "it runs nothing", kLeaveOut},

    // What could be promised, but is not.
    RefusedOption{"env-file", 0, kUnsupported, "write the variables with -e K=V or under environment_variables"},
    RefusedOption{"label-file", 0, kUnsupported, "write the labels with --label K=V"},
    RefusedOption{"volume-driver", 0, "volumes of the Engine are not supported",
                  "name host directories with -v SRC:DST"},
    RefusedOption{"storage-opt", 0, kUnsupported, kLeaveOut},
    RefusedOption{"read-only", 0, kUnsupported, kLeaveOut},
    RefusedOption{"publish", 'p', "ports are not published", "share the host's network with --network=host"},
    RefusedOption{"publish-all", 'P', "ports are not published", "share the host's network with --network=host"},
    RefusedOption{"expose", 0, "ports are not published", kLeaveOut},
    RefusedOption{"network-alias", 0, kUnsupported, "use --hostname"},
    RefusedOption{"net-alias", 0, kUnsupported, "use --hostname"},
    RefusedOption{"ip", 0, kUnsupported, kLeaveOut},
    RefusedOption{"ip6", 0, kUnsupported, kLeaveOut},
    RefusedOption{"link-local-ip", 0, kUnsupported, kLeaveOut},
    RefusedOption{"mac-address", 0, kUnsupported, kLeaveOut},
    RefusedOption{"domainname", 0, kUnsupported, "use --hostname"},
    RefusedOption{"health-cmd", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"health-interval", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"health-retries", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"health-start-interval", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"health-start-period", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"health-timeout", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"no-healthcheck", 0, "health checks are not supported", kLeaveOut},
    RefusedOption{"cpu-period", 0, kUnsupported, "limit CPUs with --cpus N"},
    RefusedOption{"cpu-quota", 0, kUnsupported, "limit CPUs with --cpus N"},
    RefusedOption{"cpu-rt-period", 0, kUnsupported, kLeaveOut},
    RefusedOption{"cpu-rt-runtime", 0, kUnsupported, kLeaveOut},
    RefusedOption{"cpu-count", 0, "it is for Windows", "use --cpus N"},
    RefusedOption{"cpu-percent", 0, "it is for Windows", "use --cpus N"},
    RefusedOption{"cpuset-mems", 0, kUnsupported, "use --cpuset-cpus"},
    RefusedOption{"kernel-memory", 0, "the Engine no longer honours it", "use --memory SIZE"},
    RefusedOption{"memory-swap", 0, kUnsupported, "use --memory SIZE"},
    RefusedOption{"memory-swappiness", 0, kUnsupported, kLeaveOut},
    RefusedOption{"blkio-weight", 0, kUnsupported, kLeaveOut},
    RefusedOption{"blkio-weight-device", 0, kUnsupported, kLeaveOut},
    RefusedOption{"device-read-bps", 0, kUnsupported, kLeaveOut},
    RefusedOption{"device-read-iops", 0, kUnsupported, kLeaveOut},
    RefusedOption{"device-write-bps", 0, kUnsupported, kLeaveOut},
    RefusedOption{"device-write-iops", 0, kUnsupported, kLeaveOut},
    RefusedOption{"io-maxbandwidth", 0, "it is for Windows", kLeaveOut},
    RefusedOption{"io-maxiops", 0, "it is for Windows", kLeaveOut},
};

constexpr std::array<std::string_view, 27> kBuildOnly{
    "allow",         "attest",     "build-arg", "build-context", "builder",  "cache-from",
    "cache-to",      "call",       "check",     "compress",      "file",     "force-rm",
    "iidfile",       "load",       "no-cache",  "output",        "progress", "no-cache-filter",
    "metadata-file", "provenance", "push",      "sbom",          "secret",   "squash",
    "ssh",           "tag",        "target"};

}  // namespace

const RefusedOption* find_refused(std::string_view name) {
  const auto row =
      std::find_if(kRefused.begin(), kRefused.end(), [name](const RefusedOption& r) { return r.name == name; });
  return row == kRefused.end() ? nullptr : &*row;
}

const RefusedOption* find_refused(char letter) {
  const auto row =
      std::find_if(kRefused.begin(), kRefused.end(), [letter](const RefusedOption& r) { return r.letter == letter; });
  return row == kRefused.end() ? nullptr : &*row;
}

std::span<const RefusedOption> refused_options() { return kRefused; }

bool is_build_option(std::string_view name) {
  return std::find(kBuildOnly.begin(), kBuildOnly.end(), name) != kBuildOnly.end();
}

}  // namespace runner::api
