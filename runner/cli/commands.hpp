// Every command: its options in, its exit code out. Each stands in the file named after it. Errors are thrown.
#pragma once

#include "runner/cli/options.hpp"
#include "runner/cli/session.hpp"

namespace runner::cli {

int run(Session& session, const SubmitOptions& options);
int run(Session& session, const ListOptions& options);
int run(Session& session, const ShowOptions& options);
int run(Session& session, const LogsOptions& options);
int run(Session& session, const WaitOptions& options);
int run(Session& session, const CancelOptions& options);
int run(Session& session, const FailOptions& options);
int run(Session& session, const PauseOptions& options);
int run(Session& session, const ResumeOptions& options);
int run(Session& session, const QueueListOptions& options);
int run(Session& session, const QueuePauseOptions& options);
int run(Session& session, const QueueResumeOptions& options);
int run(Session& session, const QueueMoveOptions& options);
int run(Session& session, const ExecOptions& options);
int run(Session& session, const RerunOptions& options);
int run(Session& session, const RestoreOptions& options);
int run(Session& session, const DiffOptions& options);
int run(Session& session, const FilesOptions& options);
int run(Session& session, const DownloadOptions& options);
int run(Session& session, const MetricsOptions& options);
int run(Session& session, const ChildrenOptions& options);
int run(Session& session, const DeleteOptions& options);
int run(Session& session, const ExperimentListOptions& options);
int run(Session& session, const SnapshotCreateOptions& options);
int run(Session& session, const SnapshotListOptions& options);
int run(Session& session, const SnapshotExplainOptions& options);
int run(Session& session, const SnapshotShowOptions& options);
int run(Session& session, const SnapshotRestoreOptions& options);
int run(Session& session, const EnvRegisterOptions& options);
int run(Session& session, const EnvListOptions& options);
int run(Session& session, const EnvShowOptions& options);
int run(Session& session, const EnvDiffOptions& options);
int run(Session& session, const EnvScaffoldOptions& options);
int run(Session& session, const EnvDownloadOptions& options);
int run(Session& session, const EnvDeleteOptions& options);
int run(Session& session, const DaemonStartOptions& options);
int run(Session& session, const DaemonStopOptions& options);
int run(Session& session, const DaemonStatusOptions& options);
int run(Session& session, const DaemonLogsOptions& options);
int run(Session& session, const DoctorOptions& options);
int run(Session& session, const GcOptions& options);
int run(Session& session, const FsckOptions& options);
int run(Session& session, const SqlOptions& options);
int run(Session& session, const BackupOptions& options);
int run(Session& session, const TensorboardOptions& options);

}  // namespace runner::cli
