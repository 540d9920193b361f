// What the user typed, one plain struct a command. Filled by arguments.cpp, carried out by the command's own file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace runner::cli {

// Options of every command; accepted before and after its name.
struct GlobalOptions {
  bool json = false;
  bool no_autostart = false;
  std::string home;    // empty: RUNNER_HOME, else the user's data directory
  std::string socket;  // empty: RUNNER_SOCKET, else control.sock in the home
};

using KeyValue = std::pair<std::string, std::optional<std::string>>;

struct SubmitOptions {
  std::optional<std::string> config, experiment, name, source_directory, parent, python, image, requirements, conda,
      dockerfile, environment, isolation, max_run_duration, grace, cpus, memory, pids, shm_size, max_log_size, gpus,
      network, idempotency_key;
  std::vector<KeyValue> tags;
  std::vector<KeyValue> properties;             // value always set
  std::vector<KeyValue> environment_variables;  // no value: the caller's
  std::vector<std::string> mounts;
  std::vector<std::string> secrets;       // names
  std::vector<std::string> after;         // RUN[:ok|:any]
  std::vector<KeyValue> build_arguments;  // of a Dockerfile; no value: the caller's
  bool pull = false;
  bool rebuild = false;
  bool best_effort_limits = false;
  bool requeue = false;
  std::optional<int> priority;
  bool detach = false;
  bool raw = false;
  bool dry_run = false;
  bool command = false;            // `words` is a command instead of SCRIPT ARGS…
  std::vector<std::string> words;  // SCRIPT and everything behind it, untouched
};
struct ListOptions {
  std::optional<std::string> experiment, status, kind, parent, since, until, text, next_token;
  std::vector<std::string> tags, properties, parameters, metrics;  // as GET /v1/runs takes them
  std::int64_t last = 10;
  bool all = false;
  bool recursive = false;
  bool children = false;
};
struct ShowOptions {
  std::string run;
};
struct LogsOptions {
  std::string run;
  std::optional<std::string> file;
  std::int64_t offset = 0;                 // bytes
  std::optional<std::int64_t> limit;       // bytes
  std::optional<std::int64_t> head, tail;  // lines
  bool raw = false;
  bool follow = false;
};
struct WaitOptions {
  std::vector<std::string> runs;
};
struct CancelOptions {
  std::vector<std::string> runs;
  std::optional<std::string> reason;
  bool recursive = true;
};
struct FailOptions : CancelOptions {};
struct PauseOptions {
  std::vector<std::string> runs;
};
struct ResumeOptions {
  std::vector<std::string> runs;
};
struct QueueListOptions {};
struct QueuePauseOptions {};
struct QueueResumeOptions {};
struct QueueMoveOptions {
  std::string run;
  bool first = false;
  bool last = false;
  std::optional<std::string> before;
};
struct ExecOptions {
  std::string run;
  bool raw = false;
  std::vector<std::string> words;  // the command, untouched
};
struct RerunOptions {
  std::string run;
  SubmitOptions overrides;                            // without `words`, and what only submit has
  std::optional<std::vector<std::string>> arguments;  // of the script, instead of the old ones
};
struct RestoreOptions {
  std::string run;
  std::string directory;
};
enum class DiffPart { kCode, kParameters, kMetrics, kEnvironment, kGit, kMachine };
struct DiffOptions {
  std::string before, after;     // runs
  std::optional<DiffPart> part;  // none: a summary of all
  bool all = false;              // what is the same, too
};
struct FilesOptions {
  std::string run;
  std::optional<std::string> prefix;
};
struct DownloadOptions {
  std::string run;
  std::vector<std::string> names;  // files or directories of the run; none: everything
  std::string directory = ".";
};
struct MetricsOptions {
  std::string run;
  std::optional<std::string> name;
  std::optional<std::int64_t> max_points;
  bool system = false;
};
struct ChildrenOptions {
  std::string run;
  std::optional<std::string> status, kind;
  std::vector<std::string> tags, properties;
  bool recursive = false;
};
struct DeleteOptions {
  std::vector<std::string> runs;
  bool yes = false;  // also what is below them, without a question
};
struct ExperimentListOptions {};
struct SnapshotCreateOptions {
  std::string directory = ".";
};
struct SnapshotListOptions {
  std::string directory = ".";
  bool nul = false;  // names as they are, each ended by a NUL
};
struct SnapshotExplainOptions {
  std::optional<std::string> source_directory;
  std::vector<std::string> paths;  // relative to the caller's directory, or absolute
};
struct SnapshotShowOptions {
  std::string snapshot;  // id, some of its first digits, or a run
};
struct SnapshotRestoreOptions {
  std::string snapshot;
  std::string directory;
};
// NAME, NAME:VERSION or a digest; az's -v VERSION is put behind NAME when it is read.
struct EnvRegisterOptions {
  std::string name;                      // empty: the directory says it
  std::optional<std::string> directory;  // what scaffold wrote
  SubmitOptions source;                  // only what names an environment
};
struct EnvListOptions {
  std::optional<std::string> name;
  bool all = false;  // those that nobody named, too
};
struct EnvShowOptions {
  std::string name;
  std::optional<std::string> version;
};
struct EnvDiffOptions {
  std::string before, after;  // runs, too
};
struct EnvScaffoldOptions {
  std::string name;
  std::string directory = ".";
};
struct EnvDownloadOptions {
  std::string name;
  std::optional<std::string> version;
  std::string directory = ".";
};
struct EnvDeleteOptions {
  std::string name;
  std::optional<std::string> version;
};
struct DaemonStartOptions {};
struct DaemonStopOptions {
  bool cancel_runs = false;
};
struct DaemonStatusOptions {};
struct DaemonLogsOptions {};
struct DoctorOptions {};
struct GcOptions {
  bool explain = false;
  bool dry_run = false;
};
struct FsckOptions {
  bool repair = false;
};
struct SqlOptions {
  std::string query;  // "-": standard input
  std::int64_t limit = 1000;
};
struct BackupOptions {
  std::string file;
};
struct TensorboardOptions {
  std::vector<std::string> runs;
  bool metrics = false;
  std::optional<std::string> directory;
  std::optional<int> port;
};
struct VersionOptions {};
struct HelpOptions {
  std::string text;
};

using Command = std::variant<
    SubmitOptions, ListOptions, ShowOptions, LogsOptions, WaitOptions, CancelOptions, FailOptions, PauseOptions,
    ResumeOptions, QueueListOptions, QueuePauseOptions, QueueResumeOptions, QueueMoveOptions, ExecOptions, FilesOptions,
    DownloadOptions, MetricsOptions, ChildrenOptions, DeleteOptions, ExperimentListOptions, SnapshotCreateOptions,
    SnapshotListOptions, SnapshotExplainOptions, SnapshotShowOptions, SnapshotRestoreOptions, DaemonStartOptions,
    DaemonStopOptions, DaemonStatusOptions, DaemonLogsOptions, DoctorOptions, GcOptions, FsckOptions, RerunOptions,
    RestoreOptions, DiffOptions, EnvRegisterOptions, EnvListOptions, EnvShowOptions, EnvDiffOptions, EnvScaffoldOptions,
    EnvDownloadOptions, EnvDeleteOptions, SqlOptions, BackupOptions, TensorboardOptions, VersionOptions, HelpOptions>;

}  // namespace runner::cli
