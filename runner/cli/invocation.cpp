#include "runner/cli/invocation.hpp"

#include <algorithm>
#include <array>

#include "runner/cli/arguments.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"

namespace runner::cli {
namespace {

struct CommandRow {
  std::string_view name;  // one word, or group and word
  CommandId id;
  std::string_view description;
  bool alias = false;  // left out of --help
};

constexpr std::array kCommands{
    CommandRow{"submit", CommandId::kSubmit, "Snapshot the source directory, run a script of it, follow its log"},
    CommandRow{"ls", CommandId::kList, "List runs, newest first (also: run list)"},
    CommandRow{"show", CommandId::kShow, "Everything about a run"},
    CommandRow{"logs", CommandId::kLogs, "Print the log of a run, or follow it"},
    CommandRow{"wait", CommandId::kWait, "Wait for runs to end; exits with the first non-zero exit code"},
    CommandRow{"cancel", CommandId::kCancel, "Stop runs"},
    CommandRow{"run submit-script", CommandId::kSubmit, "The same as submit", true},
    CommandRow{"run submit", CommandId::kSubmit, "The same as submit", true},
    CommandRow{"run list", CommandId::kList, "List runs, newest first", true},
    CommandRow{"run show", CommandId::kShow, "Everything about a run", true},
    CommandRow{"run logs", CommandId::kLogs, "Print the log of a run, or follow it", true},
    CommandRow{"run monitor-logs", CommandId::kLogs, "Print the log of a run, or follow it", true},
    CommandRow{"run wait", CommandId::kWait, "Wait for runs to end; exits with the first non-zero exit code", true},
    CommandRow{"run cancel", CommandId::kCancel, "Stop runs", true},
    CommandRow{"run fail", CommandId::kFail, "Stop runs, as failed"},
    CommandRow{"run pause", CommandId::kPause, "Freeze runs; they keep their memory"},
    CommandRow{"run resume", CommandId::kResume, "Let paused runs go on"},
    CommandRow{"run exec", CommandId::kExec, "Run a command inside a live run"},
    CommandRow{"run rerun", CommandId::kRerun, "Run an old run's snapshot again, with other options if you like"},
    CommandRow{"run restore", CommandId::kRestore, "Write the snapshot of a run into a new directory"},
    CommandRow{"run diff", CommandId::kDiff,
               "What differs between two runs: code, parameters, environment, machine, metrics"},
    CommandRow{"run files", CommandId::kFiles, "List the files a run left behind"},
    CommandRow{"run download", CommandId::kDownload, "Write files of a run into a directory"},
    CommandRow{"run metrics", CommandId::kMetrics, "The metrics of a run, or every point of one"},
    CommandRow{"run children", CommandId::kChildren, "List the child runs of a run"},
    CommandRow{"run delete", CommandId::kDelete, "Delete runs and all below them, and what only they have on the disk"},
    CommandRow{"queue list", CommandId::kQueueList, "What waits, in which order, and why"},
    CommandRow{"queue pause", CommandId::kQueuePause, "Start no more runs until 'queue resume'; live runs go on"},
    CommandRow{"queue resume", CommandId::kQueueResume, "Start runs again"},
    CommandRow{"queue move", CommandId::kQueueMove, "Give a waiting run another place"},
    CommandRow{"experiment list", CommandId::kExperimentList, "List experiments"},
    CommandRow{"snapshot create", CommandId::kSnapshotCreate, "Snapshot a directory without a run; prints the id"},
    CommandRow{"snapshot ls-files", CommandId::kSnapshotList,
               "List the files that a snapshot of a directory would hold"},
    CommandRow{"snapshot explain", CommandId::kSnapshotExplain, "Why a path is in a snapshot or out of it"},
    CommandRow{"snapshot show", CommandId::kSnapshotShow, "The files of a snapshot"},
    CommandRow{"snapshot restore", CommandId::kSnapshotRestore, "Write a snapshot's files into a new directory"},
    CommandRow{"env register", CommandId::kEnvRegister,
               "Give an environment a name; a new version when its content is new"},
    CommandRow{"env list", CommandId::kEnvList, "List environments by name"},
    CommandRow{"env show", CommandId::kEnvShow, "What an environment is made of, and what it became when it was built"},
    CommandRow{"env diff", CommandId::kEnvDiff, "Why two environments differ: what was asked for, and the packages"},
    CommandRow{"env scaffold", CommandId::kEnvScaffold, "Write the files of a new environment, to be filled in"},
    CommandRow{"env download", CommandId::kEnvDownload, "Write an environment's files into a directory"},
    CommandRow{"env delete", CommandId::kEnvDelete, "Forget an environment's name; runs keep what they used"},
    CommandRow{"environment register", CommandId::kEnvRegister,
               "Give an environment a name; a new version when its content is new", true},
    CommandRow{"environment list", CommandId::kEnvList, "List environments by name", true},
    CommandRow{"environment show", CommandId::kEnvShow,
               "What an environment is made of, and what it became when it was built", true},
    CommandRow{"environment diff", CommandId::kEnvDiff,
               "Why two environments differ: what was asked for, and the packages", true},
    CommandRow{"environment scaffold", CommandId::kEnvScaffold, "Write the files of a new environment, to be filled in",
               true},
    CommandRow{"environment download", CommandId::kEnvDownload, "Write an environment's files into a directory", true},
    CommandRow{"environment delete", CommandId::kEnvDelete, "Forget an environment's name; runs keep what they used",
               true},
    CommandRow{"daemon start", CommandId::kDaemonStart, "Start the daemon if none runs"},
    CommandRow{"daemon stop", CommandId::kDaemonStop, "Stop the daemon; live runs go on"},
    CommandRow{"daemon status", CommandId::kDaemonStatus, "Which daemon runs; exits with 3 if none does"},
    CommandRow{"daemon logs", CommandId::kDaemonLogs, "Print the daemon's own log"},
    CommandRow{"doctor", CommandId::kDoctor, "What works on this machine and why not"},
    CommandRow{"gc", CommandId::kGc, "Free what no run needs"},
    CommandRow{"fsck", CommandId::kFsck, "Verify everything that is stored; exits with 1 if problems are left"},
    CommandRow{"backup", CommandId::kBackup, "Write all that is stored into one file, while runs go on"},
    CommandRow{"sql", CommandId::kSql, "Ask the history in SQL; nothing can be written"},
    CommandRow{"tensorboard", CommandId::kTensorboard, "Show runs in TensorBoard, or write their metrics for it"},
};

std::string usage() {
  std::string text =
      "runner: run scripts reproducibly on this machine\n\n"
      "usage: runner [GLOBAL OPTIONS] COMMAND [OPTIONS]\n\n";
  for (const CommandRow& row : kCommands) {
    if (row.alias) continue;
    std::string line = "  " + std::string(row.name);
    line.resize(std::max<std::size_t>(line.size() + 1, 20), ' ');
    text.append(line).append(row.description).append("\n");
  }
  return text +
         "\n'runner COMMAND --help' lists a command's options. The first group also answers to 'runner run …'.\n\n"
         "global options, before or after the command:\n"
         "  --json              one JSON object on standard output\n"
         "  --home DIR          the data directory (RUNNER_HOME, else ~/.local/share/runner)\n"
         "  --socket PATH       the daemon's socket (RUNNER_SOCKET, else DIR/control.sock)\n"
         "  --no-autostart      do not start the daemon\n"
         "  --version           print the version\n";
}

// Takes the option at `at` if it is a global one; false: it is not. With a value it moves `at` onto the value.
bool take_global(std::span<const std::string> arguments, std::size_t& at, GlobalOptions& global) {
  const std::string_view word = arguments[at];
  if (word == "--json") return global.json = true;
  if (word == "--no-autostart") return global.no_autostart = true;
  for (const auto& [option, target] :
       {std::pair{std::string_view("--home"), &global.home}, {"--socket", &global.socket}}) {
    if (word == option) {
      if (at + 1 == arguments.size()) throw Error(ErrorCode::kInvalid, std::string(option) + ": a value is missing");
      *target = arguments[++at];
      return true;
    }
    if (word.size() > option.size() && word.starts_with(option) && word[option.size()] == '=') {
      *target = word.substr(option.size() + 1);
      return true;
    }
  }
  return false;
}

Error unknown_command(std::string_view name) {
  std::array<std::string_view, kCommands.size()> names;
  std::transform(kCommands.begin(), kCommands.end(), names.begin(), [](const CommandRow& row) { return row.name; });
  std::string_view near = nearest(name, names);
  for (const CommandRow& row : kCommands)  // "download" is meant to be "run download"
    if (near.empty() && row.name.ends_with(name) && row.name[row.name.size() - name.size() - 1] == ' ') near = row.name;
  return Error(
      ErrorCode::kInvalid, "'" + std::string(name) + "': unknown command",
      near.empty() ? "'runner --help' lists the commands" : "did you mean 'runner " + std::string(near) + "'?");
}

bool is_group(std::string_view word) {
  return std::any_of(kCommands.begin(), kCommands.end(), [word](const CommandRow& row) {
    return row.name.size() > word.size() && row.name.starts_with(word) && row.name[word.size()] == ' ';
  });
}

}  // namespace

Command parse_invocation(std::span<const std::string> arguments, GlobalOptions& global) {
  std::string name;
  std::size_t at = 0;
  for (; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word == "--version" && name.empty()) return VersionOptions{};
    if ((word == "--help" || word == "-h")) return HelpOptions{usage()};
    if (take_global(arguments, at, global)) continue;
    if (word.starts_with('-')) {
      constexpr std::array<std::string_view, 6> kGlobal{"--json",         "--home",    "--socket",
                                                        "--no-autostart", "--version", "--help"};
      const auto near = nearest(word, kGlobal);
      throw Error(ErrorCode::kInvalid, "'" + word + "': unknown global option",
                  near.empty() ? "'runner --help' lists them" : "did you mean '" + std::string(near) + "'?");
    }
    name += (name.empty() ? "" : " ") + word;
    if (!is_group(name)) break;
  }
  if (name.empty()) throw Error(ErrorCode::kInvalid, "no command", "'runner --help' lists the commands");
  if (is_group(name))
    throw Error(ErrorCode::kInvalid, "'" + name + "': a command must follow", "'runner --help' lists the commands");
  const auto row =
      std::find_if(kCommands.begin(), kCommands.end(), [&](const CommandRow& r) { return r.name == name; });
  if (row == kCommands.end()) throw unknown_command(name);
  return parse_arguments(row->id, name, std::string(row->description), arguments.subspan(at + 1), global);
}

}  // namespace runner::cli
