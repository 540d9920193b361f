// The options of each command, read with CLI11. One parser is built a call, for the command at hand only: building all
// of them would cost every command more than the rest of its start. Used by invocation.cpp.
#pragma once

#include <span>
#include <string>

#include "runner/cli/options.hpp"

namespace runner::cli {

enum class CommandId {
  kSubmit,
  kList,
  kShow,
  kLogs,
  kWait,
  kCancel,
  kFail,
  kPause,
  kResume,
  kQueueList,
  kQueuePause,
  kQueueResume,
  kQueueMove,
  kExec,
  kRerun,
  kRestore,
  kDiff,
  kFiles,
  kDownload,
  kMetrics,
  kChildren,
  kDelete,
  kExperimentList,
  kSnapshotCreate,
  kSnapshotList,
  kSnapshotExplain,
  kSnapshotShow,
  kSnapshotRestore,
  kEnvRegister,
  kEnvList,
  kEnvShow,
  kEnvDiff,
  kEnvScaffold,
  kEnvDownload,
  kEnvDelete,
  kDaemonStart,
  kDaemonStop,
  kDaemonStatus,
  kDaemonLogs,
  kDoctor,
  kGc,
  kFsck,
  kSql,
  kBackup,
  kTensorboard,
};

// `name` is how the user called it ("run list"); `arguments` everything else that was typed, global options included.
// HelpOptions when --help is among them. Error(kInvalid) for wrong usage.
Command parse_arguments(CommandId id, const std::string& name, const std::string& description,
                        std::span<const std::string> arguments, GlobalOptions& global);

}  // namespace runner::cli
