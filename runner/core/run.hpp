// The run: what was asked for, where it stands, how it ended. Plain values; JSON shapes are in runner/api.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/metrics.hpp"
#include "runner/core/time.hpp"

namespace runner {

// Azure ML's statuses (spec/azure-ml-v1.md).
enum class RunStatus {
  kNotStarted,
  kPreparing,
  kQueued,
  kStarting,
  kRunning,
  kPaused,
  kCancelRequested,
  kFinalizing,
  kCompleted,
  kFailed,
  kCanceled,
};
std::string_view to_string(RunStatus status);
std::optional<RunStatus> run_status_from(std::string_view text);  // letter case ignored
bool is_final(RunStatus status);

enum class OutcomeKind {
  kExited,
  kSignaled,
  kTimedOut,
  kOutOfMemory,
  kCanceled,
  kKilled,
  kLost,
  kHostRebooted,
  kEnvironmentFailed,
  kStartFailed,
};
std::string_view to_string(OutcomeKind kind);  // "exited", "timed_out", … as in cli.md
std::optional<OutcomeKind> outcome_kind_from(std::string_view text);

// Absent: it is not known. Means are over the time in which the script ran, pauses left out.
struct ResourceUsage {
  std::optional<std::int64_t> peak_memory_bytes{}, mean_memory_bytes{};
  std::optional<double> cpu_seconds{};
  std::optional<double> peak_cpus{}, mean_cpus{};             // CPUs kept busy; the peak is of about one second
  std::optional<std::int64_t> read_bytes{}, written_bytes{};  // of block devices
  bool operator==(const ResourceUsage&) const = default;
};

struct Outcome {
  OutcomeKind kind = OutcomeKind::kLost;
  std::optional<int> exit_code{};
  std::optional<int> signal{};
  ResourceUsage usage{};
  std::string message{};  // one line for people; may be empty
};

// cli.md: the script's own code when it exited, 124 at its time limit, 130 when cancelled, 137 when killed for memory,
// 128+N for signal N, 125 for every other ending.
int exit_code_of(const Outcome& outcome);
// Completed for exit code 0, Canceled for kCanceled and kTimedOut, Failed for the rest.
RunStatus final_status_of(const Outcome& outcome);

// Of a run that has no process of its own and was said to have ended so.
Outcome outcome_of_end(RunStatus final_status, std::string message = {});

// Who executes it: we (a script), its parent's script (a child that nothing is executed for), or the process that it
// was begun in.
enum class RunKind { kScript, kChild, kInteractive };
std::string_view to_string(RunKind kind);                     // "script", "child", "interactive"
std::optional<RunKind> run_kind_from(std::string_view text);  // letter case ignored

enum class Isolation { kSandbox, kDocker, kNone };
std::string_view to_string(Isolation isolation);
std::optional<Isolation> isolation_from(std::string_view text);

struct Mount {
  std::string source;  // absolute host path
  std::string target;  // absolute path in the container
  bool writable = false;
};

// What a container of the Engine gets beyond the limits that every isolation has: the runconfig's docker.arguments, as
// far as they are known to be safe. Empty members are the Engine's defaults.
struct EngineOptions {
  struct Ulimit {
    std::string name;  // "nofile", as `docker run --ulimit` spells it
    std::int64_t soft = 0;
    std::int64_t hard = 0;
  };
  std::string network;  // "bridge", "host", "none" or a network's name; empty: by `network`
  std::string hostname;
  std::vector<std::string> extra_hosts;  // "name:address"
  std::vector<std::string> dns;          // addresses
  std::vector<std::string> dns_search;
  std::vector<std::string> dns_options;
  std::map<std::string, std::string> labels;
  std::vector<Ulimit> ulimits;
  std::map<std::string, std::string> tmpfs;  // absolute path → mount options
  std::string cpuset_cpus;                   // "0-2,4"
  std::optional<std::int64_t> cpu_shares;
  std::optional<std::int64_t> memory_reservation;  // bytes
};

// What `--after` asks of another run: any end, or a successful one.
enum class AfterEnd { kSuccess, kAny };
std::string_view to_string(AfterEnd end);  // "ok", "any"

// Which GPUs a run wants: so many, or these; neither: all there are.
struct GpuRequest {
  std::optional<int> count{};
  std::vector<std::string> ids{};  // as the driver or the configuration names them
  bool operator==(const GpuRequest&) const = default;
};

// Where a run waits: by priority, the higher first, then by position, the smaller first.
struct QueuePlace {
  int priority = 0;
  double position = 0;  // of a run that nobody has moved: its number in the order of submission
};

// What a run was accepted on. Empty and zero: not known.
struct MachineFacts {
  std::string hostname;
  std::string system;        // "Debian GNU/Linux 12 (bookworm)"
  std::string kernel;        // "6.1.0-18-amd64"
  std::string architecture;  // "x86_64"
  std::string processor;     // as the kernel calls it
  int cpus = 0;              // that the daemon may use
  std::int64_t memory_bytes = 0;
  std::string gpu_driver;  // "535.161.08", of NVIDIA
  bool operator==(const MachineFacts&) const = default;
};

// What the user asked to run; immutable once the run exists.
struct RunDefinition {
  static constexpr std::int64_t kUnlimited = -1;

  std::string script;                  // relative to the source directory; empty when `command` is used
  std::vector<std::string> arguments;  // of the script
  std::vector<std::string> command;    // exact argument vector instead of script + arguments
  std::string source_directory;        // absolute, as it was at submit
  std::string config_name;             // the runconfig that was used, or empty
  Isolation isolation = Isolation::kSandbox;
  std::optional<std::chrono::milliseconds> max_run_duration;  // from the start of the script
  std::chrono::milliseconds grace{10'000};
  std::optional<double> cpus;
  std::optional<std::int64_t> memory_bytes;
  std::optional<std::int64_t> pids;
  std::optional<std::int64_t> shm_bytes;
  std::optional<std::int64_t> max_log_bytes;  // of its output that are kept, or kUnlimited; absent: the configuration's
  std::optional<GpuRequest> gpus;             // absent: all there are, and none where there is none
  bool best_effort_limits = false;            // a limit that cannot be enforced here is left out
  std::vector<std::string> unenforced;        // options that were: "--memory"
  bool requeue = false;                       // a new attempt after a restart of the machine, instead of the end
  bool network = true;
  std::vector<Mount> mounts;
  std::map<std::string, std::string> environment_variables;  // -E and the runconfig's
  std::map<std::string, std::string> caller_variables;       // LANG, LC_*, TZ as they were at submit
  std::string image;                      // --image, as it was given; empty: no image, and not Isolation::kDocker
  std::string image_interpreter;          // the Python in the image; empty: python3, then python
  std::string engine_socket;              // absolute path of the Engine's socket, as it was found at submit
  EngineOptions engine;                   // isolation docker only
  std::vector<std::string> secrets;       // names; their values are stored nowhere
  std::map<std::string, AfterEnd> after;  // runs that must have ended before this one starts, by id
  // What says where the packages of an environment that must be built come from (envs/build_variables.hpp).
  std::map<std::string, std::string> build_variables;
  std::vector<std::string> withheld;    // names of variables, or the kind of file, whose credentials are stored nowhere
  bool rebuild_environment = false;     // --rebuild: only what was built after the run was submitted will do
  bool pull_image = false;              // --pull: what the registry has now, though an image of that name is here
  std::optional<MachineFacts> machine;  // of runs that were accepted since they are recorded
  std::string within;                   // the run whose script has submitted it: it takes of what that one has

  std::optional<std::int64_t> log_limit() const {  // bytes; none: all of it is kept
    return max_log_bytes && *max_log_bytes != kUnlimited ? max_log_bytes : std::nullopt;
  }
};

struct GitState {                             // absent facts are absent properties (DESIGN.md)
  std::optional<std::string> repository_uri;  // credentials stripped
  std::optional<std::string> branch;          // absent when detached
  std::optional<std::string> commit;          // absent when unborn
  bool dirty = false;                         // within the source directory, untracked files included
};

// An image as it was resolved: what ran, whatever its tag means by now.
struct ImageRef {
  std::string id;        // "sha256:…"
  std::string digest;    // "name@sha256:…" by which a registry knows it; empty for an imported or built one
  std::string platform;  // "linux/amd64"
};

// A prepared environment, as a run refers to it.
struct EnvironmentRef {
  std::string name;                 // "user-managed" for an existing interpreter; an image's reference
  std::string version;              // registry version, or empty
  std::string kind;                 // "interpreter", "venv", "conda", "image", "dockerfile", "conda-image", "none"
  Hash digest;                      // identity of the specification
  std::optional<Hash> lock_digest;  // of what is in it; absent until it is built
  std::string interpreter;          // absolute path as the script's argv[0]; empty where a run needs none
  std::string python_version;       // "3.11.7"; empty if not Python
  std::optional<ImageRef> image;    // once it is resolved; of kind "image" `digest` is then its id
};

struct RunError {  // Azure's error object
  std::string code = "UserError";
  std::string message{};
  std::string hint{};
};

struct Artifact {
  std::string name;  // "outputs/model.pkl", "logs/a.csv", "user_logs/std_log.txt"
  std::int64_t bytes = 0;
  Hash sha256;
};

// One before the present one: it gave way, or the machine was restarted.
struct Attempt {
  int number = 1;
  std::optional<UtcTime> started;
  UtcTime ended{};
  std::string reason;
};

struct RunRecord {
  std::string id;  // <experiment>_<unix seconds>_<8 hex>; of children and interactive runs a uuid4
  RunKind kind = RunKind::kScript;
  std::string experiment;
  std::string name;
  RunStatus status = RunStatus::kNotStarted;
  std::string status_reason;
  UtcTime created{};
  std::optional<UtcTime> started;
  std::optional<UtcTime> ended;
  int attempt = 1;
  std::vector<Attempt> earlier_attempts;
  std::vector<std::string> gpus;  // that the present attempt has, by id
  std::optional<std::string> parent;
  std::optional<Hash> snapshot;
  std::map<std::string, std::optional<std::string>> tags;
  std::map<std::string, std::string> properties;
  std::optional<GitState> git;
  EnvironmentRef environment;
  RunDefinition definition;
  std::optional<Outcome> outcome;
  std::optional<RunError> error;
  QueuePlace queue;
  std::optional<std::string> idempotency_key;
  Hash submission_digest;  // of the request's meaning; tells a repeated idempotency key from a conflicting one
};

}  // namespace runner
