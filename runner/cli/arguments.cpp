// With env_arguments.cpp the only units with CLI11 (5 s to compile).
#include "runner/cli/arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "runner/cli/env_arguments.hpp"
#include "runner/cli/history_arguments.hpp"
#include "runner/cli/log_arguments.hpp"
#include "runner/cli/parser_handle.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"

namespace runner::cli {
namespace {

KeyValue split_key_value(const std::string& text, const char* option) {
  const auto equals = text.find('=');
  if (text.empty() || equals == 0)
    throw Error(ErrorCode::kInvalid, std::string(option) + ": '" + text + "' has no name before the '='");
  if (equals == std::string::npos) return {text, std::nullopt};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Repeatable K[=V]; with `value_required` the = must be there.
void add_key_values(CLI::App& app, const char* flags, const char* shown, std::vector<KeyValue>& into,
                    const std::string& help, bool value_required = false) {
  app.add_option_function<std::vector<std::string>>(
         flags,
         [&into, shown, value_required](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             KeyValue pair = split_key_value(text, shown);
             if (value_required && !pair.second)
               throw Error(ErrorCode::kInvalid, std::string(shown) + ": '" + text + "' is not of the form K=V");
             into.push_back(std::move(pair));
           }
         },
         help)
      ->type_name(value_required ? "K=V" : "K[=V]")
      ->allow_extra_args(false);
}

void add_source(CLI::App& app, std::string& into) {
  app.add_option("directory", into, "the source directory (the current one)")->type_name("DIR");
}

// What a run and its repetition may both be told.
void define_run(CLI::App& app, SubmitOptions& o) {
  add_text(app, "--name", o.name, "TEXT", "display name");
  add_key_values(app, "--tag", "--tag", o.tags, "a tag; may be changed later");
  add_key_values(app, "--property", "--property", o.properties, "a property; never changes", true);
  add_text(app, "--parent", o.parent, "RUN", "parent run");
  add_text(app, "--max-run-duration", o.max_run_duration, "T", "90, 90s, 30m, 2h, 1d, from the script's start (none)");
  add_text(app, "--grace", o.grace, "T", "from the polite signal to the kill (10s)");
  add_text(app, "--cpus", o.cpus, "N", "CPUs (all)");
  add_text(app, "--memory", o.memory, "SIZE", "memory: 512m, 2g");
  add_text(app, "--pids", o.pids, "N", "processes and threads");
  add_text(app, "--shm-size", o.shm_size, "SIZE", "/dev/shm (half of the memory)");
  add_text(app, "--max-log-size", o.max_log_size, "SIZE", "of its output that is kept, or 'unlimited' (10g)");
  add_text(app, "--gpus", o.gpus, "all|N|IDS|none", "GPUs: all (the default), any N, or these: 0,1, device=0");
  app.add_flag("--best-effort-limits", o.best_effort_limits,
               "leave out a limit that cannot be enforced here, and record that, instead of refusing the run");
  add_text(app, "--network", o.network, "on|off", "network (on)");
  add_list(app, "--mount", o.mounts, "SRC:DST[:ro|:rw]", "extra host directory, read-only unless :rw");
  add_key_values(app, "-E,--env-var", "--env-var", o.environment_variables,
                 "variable of the run; K alone: the caller's value");
  add_list(app, "--secret", o.secrets, "NAME",
           "a value of the secrets file or a variable of yours; passed to the run, never recorded");
  app.add_option("--priority", o.priority,
                 "queue order, higher first (0); below 0 the run gives way to others and starts again")
      ->type_name("N");
  app.add_flag("--requeue", o.requeue,
               "start it again, from its snapshot, if the machine is restarted while it is live");
  add_list(app, "--after", o.after, "RUN[:ok|:any]", "start when that run has ended well, or at all");
  app.add_flag("--detach,--async", o.detach, "print the run's id and return");
  app.add_flag("--raw", o.raw, "on a terminal, too, its output as it is");
  add_text(app, "--idempotency-key", o.idempotency_key, "KEY", "the same key gives the same run");
}

// At most one of them, but for --conda with --image.
void define_environment(CLI::App& app, SubmitOptions& o) {
  add_text(app, "--python", o.python, "PATH", "interpreter (the active environment's, else python3)");
  add_text(app, "--requirements", o.requirements, "FILE",
           "a virtual environment of a requirements.txt or pyproject.toml");
  add_text(app, "--conda,-d,--conda-dependencies", o.conda, "FILE", "a conda environment; with --image in that image");
  add_text(app, "--image", o.image, "REF", "run in a container of this image, with the Python that is in it");
  add_text(app, "--dockerfile", o.dockerfile, "FILE", "an image built of the source directory");
  add_text(app, "--env", o.environment, "NAME[:VERSION]", "a registered environment ('runner env list')");
  add_key_values(
      app, "--build-arg", "--build-arg", o.build_arguments,
      "of the Dockerfile; K alone: the caller's value. Recorded, here and in the image: no place for secrets");
  app.add_flag("--pull", o.pull, "ask the registry for the image though one of its name is here");
  app.add_flag("--rebuild", o.rebuild, "build the environment anew, resolving its packages again");
}

void define(CLI::App& app, SubmitOptions& o) {
  add_text(app, "-e,--experiment", o.experiment, "NAME", "experiment (the source directory's name)");
  add_text(app, "--source-dir", o.source_directory, "DIR", "what is snapshotted (the current directory)");
  add_text(app, "-c,--config", o.config, "NAME", "a runconfig: .runner/NAME[.runconfig], then .azureml/…, then a path");
  define_environment(app, o);
  add_text(app, "--isolation", o.isolation, "KIND", "sandbox, docker (with an image or a Dockerfile)");
  define_run(app, o);
  app.add_flag("--dry-run", o.dry_run, "print the files, the environment and the command; run and store nothing");
  app.add_flag("--command", o.command,
               "run a command instead of a script: one word is a shell line, several are exact");
  app.footer(
      "SCRIPT [ARGS…] or, with --command, COMMAND [ARGS…] follows the options; everything behind SCRIPT belongs to "
      "it.\n"
      "SCRIPT is relative to the source directory. '--' ends the options.\n\n"
      "  runner submit train.py --lr 0.1\n"
      "  runner submit --image python:3.11-slim --secret TOKEN train.py");
}

void define(CLI::App& app, RerunOptions& o) {
  add_run(app, o.run);
  add_text(app, "-e,--experiment", o.overrides.experiment, "NAME", "experiment (the original's)");
  define_environment(app, o.overrides);
  define_run(app, o.overrides);
  app.footer(
      "The code is the snapshot of the original, not the working directory. What is not given is as it was; secrets\n"
      "that are not in the secrets file must be given again. Behind '--' stand the script's arguments, if they are to\n"
      "be others.\n\n"
      "  runner run rerun @last -- --lr 0.2");
}

void define(CLI::App& app, ShowOptions& o) { add_run(app, o.run); }

void define(CLI::App& app, LogsOptions& o) {
  add_run(app, o.run);
  define_log(app, o);
}

void define(CLI::App& app, WaitOptions& o) { add_runs(app, o.runs); }

void define(CLI::App& app, CancelOptions& o) {
  add_runs(app, o.runs);
  add_text(app, "--reason", o.reason, "TEXT", "recorded with the run");
  app.add_flag("--recursive,!--no-recursive", o.recursive, "its child runs, too (yes)");
}
void define(CLI::App& app, FailOptions& o) { define(app, static_cast<CancelOptions&>(o)); }

void define(CLI::App& app, PauseOptions& o) { add_runs(app, o.runs); }
void define(CLI::App& app, ResumeOptions& o) { add_runs(app, o.runs); }

void define(CLI::App& app, QueueMoveOptions& o) {
  add_run(app, o.run);
  auto* places = app.add_option_group("places", "one of them; the run takes the priority of its new neighbour");
  places->add_flag("--first", o.first, "in front of all");
  places->add_flag("--last", o.last, "behind all");
  add_text(*places, "--before", o.before, "RUN", "in front of this one");
  places->require_option(1);
}

void define(CLI::App& app, ExecOptions& o) {
  app.add_option("-r,--run", o.run, "id, a unique prefix, the 8-hex tail, or @last")->type_name("RUN");
  app.add_flag("--raw", o.raw, "on a terminal, too, its output as it is");
  app.footer(
      "RUN [--] COMMAND [ARGS…] follows the options; everything behind RUN belongs to the command.\n"
      "It sees what the script sees. The exit status is the command's.\n\n"
      "  runner run exec @last -- ps aux");
}

void define(CLI::App& app, RestoreOptions& o) {
  add_run(app, o.run);
  app.add_option("directory", o.directory, "where to: a directory that does not exist yet, or is empty")
      ->type_name("DIR")
      ->required();
}

void define(CLI::App& app, FilesOptions& o) {
  add_run(app, o.run);
  add_text(app, "prefix", o.prefix, "PREFIX", "only names that begin so");
}

void define(CLI::App& app, DownloadOptions& o) {
  add_run(app, o.run);
  app.add_option("names", o.names, "files or directories of the run (all)")->type_name("NAME");
  app.add_option("-d,--dir", o.directory, "where to; names keep outputs/ and logs/ (.)")->type_name("DIR");
}

void add_snapshot(CLI::App& app, std::string& into) {
  app.add_option("snapshot", into, "its id, at least four of its first digits, or a run")
      ->type_name("SNAPSHOT")
      ->required();
}

void define(CLI::App& app, SnapshotCreateOptions& o) { add_source(app, o.directory); }

void define(CLI::App& app, SnapshotListOptions& o) {
  add_source(app, o.directory);
  app.add_flag("-z", o.nul, "names as they are, each ended by a NUL byte");
}

void define(CLI::App& app, SnapshotExplainOptions& o) {
  add_text(app, "--source-dir", o.source_directory, "DIR", "the source directory (the current one)");
  app.add_option("paths", o.paths, "files or directories")->type_name("PATH")->required();
}

void define(CLI::App& app, SnapshotShowOptions& o) { add_snapshot(app, o.snapshot); }

void define(CLI::App& app, SnapshotRestoreOptions& o) {
  add_snapshot(app, o.snapshot);
  app.add_option("directory", o.directory, "a directory that does not exist, or is empty")
      ->type_name("DIR")
      ->required();
}

void define(CLI::App& app, DaemonStopOptions& o) { app.add_flag("--cancel-runs", o.cancel_runs, "end live runs, too"); }

void define(CLI::App& app, GcOptions& o) {
  app.add_flag("--explain", o.explain, "say what goes and what stays, thing by thing, and why");
  app.add_flag("--dry-run", o.dry_run, "say it and touch nothing");
  app.footer("Frees contents, chunks and caches that no run needs. Runs, submits and downloads go on meanwhile.");
}

void define(CLI::App& app, FsckOptions& o) {
  app.add_flag("--repair", o.repair, "read again what can be had from checkouts and source directories");
  app.footer(
      "Reads and verifies everything that is stored, while runs and submits go on.\n"
      "Exit status: 0 all is well (or was repaired), 1 problems are left.");
}

template <class WithoutOptions>
void define(CLI::App&, WithoutOptions&) {}

void define_global(CLI::App& app, GlobalOptions& global) {
  const char* group = "Global options";
  app.add_flag("--json", global.json, "one JSON object on standard output")->group(group);
  app.add_option("--home", global.home, "the data directory")->type_name("DIR")->group(group);
  app.add_option("--socket", global.socket, "the daemon's socket")->type_name("PATH")->group(group);
  app.add_flag("--no-autostart", global.no_autostart, "do not start the daemon")->group(group);
}

// The kind of an error; its name is not always one.
bool is(const CLI::ParseError& error, CLI::ExitCodes code) { return error.get_exit_code() == static_cast<int>(code); }

// The first required argument that was not given.
std::string missing_argument(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    if (option->get_required() && option->count() == 0) return option->get_type_name();
  return "an argument";
}

// CLI11's words in ours: what was typed, and the nearest thing that exists.
Error usage_error(const CLI::App& app, const std::string& command, const CLI::ParseError& error) {
  const std::string hint = "'runner " + command + " --help' lists its options";
  const auto wrong = [&command](const std::string& what, const std::string& way_out) {
    return Error(ErrorCode::kInvalid, command + ": " + what, way_out);
  };
  if (is(error, CLI::ExitCodes::ExtrasError)) {
    std::vector<std::string> extras = app.remaining();
    const auto option =
        std::find_if(extras.begin(), extras.end(), [](const auto& word) { return word.starts_with('-'); });
    if (option == extras.end()) return wrong("'" + extras.front() + "': one argument too many", hint);
    const std::string name = option->substr(0, option->find('='));
    std::vector<std::string> names;
    for (const CLI::Option* known : app.get_options())
      for (const std::string& long_name : known->get_lnames()) names.push_back("--" + long_name);
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    const auto near = name.starts_with("--") ? nearest(name, candidates) : std::string_view();
    return wrong("'" + name + "': unknown option", near.empty() ? hint : "did you mean '" + std::string(near) + "'?");
  }
  if (is(error, CLI::ExitCodes::RequiredError)) return wrong(missing_argument(app) + " is missing", hint);
  return wrong(error.what(), hint);
}

// Where SCRIPT stands, or RUN of exec: the first word that is neither an option nor an option's value. "--" ends the
// options.
struct ScriptSplit {
  std::vector<std::string> options;
  std::vector<std::string> words;
  bool replaces = false;  // of rerun: there was a "--", so `words` are the script's arguments, be they none
};
ScriptSplit split_at_script(const CLI::App& app, std::span<const std::string> arguments) {
  ScriptSplit split;
  std::size_t at = 0;
  for (; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    split.options.push_back(word);
    const bool attached = word[1] == '-' ? word.find('=') != std::string::npos : word.size() > 2;
    const CLI::Option* option = app.get_option_no_throw(word);
    if (attached || option == nullptr || option->get_items_expected_max() == 0) continue;
    if (at + 1 < arguments.size()) split.options.push_back(arguments[++at]);
  }
  for (; at < arguments.size(); ++at) split.words.push_back(arguments[at]);
  return split;
}

// RUN may stand anywhere among the options; only what is behind "--" is the script's.
ScriptSplit split_at_dashes(std::span<const std::string> arguments) {
  ScriptSplit split;
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  split.options.assign(arguments.begin(), dashes);
  if (dashes != arguments.end()) split.words.assign(dashes + 1, arguments.end());
  split.replaces = dashes != arguments.end();
  return split;
}

void parse_into(CLI::App& app, std::vector<std::string> arguments) {
  // CLI11 takes an empty word for the name of an option group, which has none, and goes round for ever.
  if (std::find(arguments.begin(), arguments.end(), "") != arguments.end() &&
      !app.get_subcommands([](CLI::App*) { return true; }).empty())
    throw Error(ErrorCode::kInvalid,
                app.get_name().substr(std::string_view("runner ").size()) + ": an argument is empty",
                "leave it out, or give the id of a run");
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  app.parse(std::move(arguments));
}

// Behind the options of exec: RUN, unless -r named it, and the command.
void take_exec_words(ExecOptions& options, std::vector<std::string> words, const GlobalOptions& global,
                     const std::string& name) {
  const std::string hint = "runner run exec RUN -- COMMAND [ARGS…]";
  if (options.run.empty()) {
    if (words.empty()) throw Error(ErrorCode::kInvalid, name + ": RUN is missing", hint);
    options.run = words.front();
    words.erase(words.begin());
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
  }
  if (words.empty()) throw Error(ErrorCode::kInvalid, name + ": the command is missing", hint);
  // Its output is the command's own, and it has an exit status instead of a document.
  if (global.json) throw Error(ErrorCode::kInvalid, name + ": exec has no --json", "leave it out");
  options.words = std::move(words);
}

template <class Options>
Command parse_as(const std::string& name, const std::string& description, std::span<const std::string> arguments,
                 GlobalOptions& global) {
  CLI::App app(description, "runner " + name);
  Options options;
  define(app, options);
  define_global(app, global);
  ScriptSplit split;
  if constexpr (std::is_same_v<Options, SubmitOptions> || std::is_same_v<Options, ExecOptions>)
    split = split_at_script(app, arguments);
  else if constexpr (std::is_same_v<Options, RerunOptions>)
    split = split_at_dashes(arguments);
  else
    split.options.assign(arguments.begin(), arguments.end());
  // A wrong command line must still be answered in the wanted form, also when parsing ended before it came to --json.
  // Behind an unknown option nobody can tell its value from SCRIPT: there any --json counts.
  const auto note_json = [&global](std::span<const std::string> words) {
    global.json = global.json || std::find(words.begin(), words.end(), "--json") != words.end();
  };
  try {
    parse_into(app, split.options);
  } catch (const CLI::CallForHelp&) {
    return HelpOptions{app.help()};
  } catch (const CLI::ParseError& error) {
    note_json(is(error, CLI::ExitCodes::ExtrasError) ? arguments : std::span<const std::string>(split.options));
    throw usage_error(app, name, error);
  } catch (const Error&) {
    note_json(split.options);
    throw;
  }
  if constexpr (std::is_same_v<Options, SubmitOptions>) {
    options.words = std::move(split.words);
    if (options.words.empty() && options.command)
      throw Error(ErrorCode::kInvalid, name + ": --command: the command is missing",
                  "runner submit --command 'echo hello'");
    if (options.words.empty() && !options.config)  // a runconfig may name the script
      throw Error(ErrorCode::kInvalid, name + ": SCRIPT is missing", "runner submit [OPTIONS] train.py [ARGS…]");
  }
  if constexpr (std::is_same_v<Options, RerunOptions>)
    if (split.replaces) options.arguments = std::move(split.words);
  if constexpr (std::is_same_v<Options, ExecOptions>) take_exec_words(options, std::move(split.words), global, name);
  return options;
}

using Parse = Command (*)(const std::string& name, const std::string& description,
                          std::span<const std::string> arguments, GlobalOptions& global);

constexpr std::array kParsers{
    std::pair<CommandId, Parse>{CommandId::kSubmit, &parse_as<SubmitOptions>},
    std::pair<CommandId, Parse>{CommandId::kList, &parse_as<ListOptions>},
    std::pair<CommandId, Parse>{CommandId::kShow, &parse_as<ShowOptions>},
    std::pair<CommandId, Parse>{CommandId::kLogs, &parse_as<LogsOptions>},
    std::pair<CommandId, Parse>{CommandId::kWait, &parse_as<WaitOptions>},
    std::pair<CommandId, Parse>{CommandId::kCancel, &parse_as<CancelOptions>},
    std::pair<CommandId, Parse>{CommandId::kFail, &parse_as<FailOptions>},
    std::pair<CommandId, Parse>{CommandId::kPause, &parse_as<PauseOptions>},
    std::pair<CommandId, Parse>{CommandId::kResume, &parse_as<ResumeOptions>},
    std::pair<CommandId, Parse>{CommandId::kExec, &parse_as<ExecOptions>},
    std::pair<CommandId, Parse>{CommandId::kRerun, &parse_as<RerunOptions>},
    std::pair<CommandId, Parse>{CommandId::kRestore, &parse_as<RestoreOptions>},
    std::pair<CommandId, Parse>{CommandId::kDiff, &parse_as<DiffOptions>},
    std::pair<CommandId, Parse>{CommandId::kFiles, &parse_as<FilesOptions>},
    std::pair<CommandId, Parse>{CommandId::kDownload, &parse_as<DownloadOptions>},
    std::pair<CommandId, Parse>{CommandId::kMetrics, &parse_as<MetricsOptions>},
    std::pair<CommandId, Parse>{CommandId::kChildren, &parse_as<ChildrenOptions>},
    std::pair<CommandId, Parse>{CommandId::kDelete, &parse_as<DeleteOptions>},
    std::pair<CommandId, Parse>{CommandId::kQueueList, &parse_as<QueueListOptions>},
    std::pair<CommandId, Parse>{CommandId::kQueuePause, &parse_as<QueuePauseOptions>},
    std::pair<CommandId, Parse>{CommandId::kQueueResume, &parse_as<QueueResumeOptions>},
    std::pair<CommandId, Parse>{CommandId::kQueueMove, &parse_as<QueueMoveOptions>},
    std::pair<CommandId, Parse>{CommandId::kExperimentList, &parse_as<ExperimentListOptions>},
    std::pair<CommandId, Parse>{CommandId::kSnapshotCreate, &parse_as<SnapshotCreateOptions>},
    std::pair<CommandId, Parse>{CommandId::kSnapshotList, &parse_as<SnapshotListOptions>},
    std::pair<CommandId, Parse>{CommandId::kSnapshotExplain, &parse_as<SnapshotExplainOptions>},
    std::pair<CommandId, Parse>{CommandId::kSnapshotShow, &parse_as<SnapshotShowOptions>},
    std::pair<CommandId, Parse>{CommandId::kSnapshotRestore, &parse_as<SnapshotRestoreOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvRegister, &parse_as<EnvRegisterOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvList, &parse_as<EnvListOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvShow, &parse_as<EnvShowOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvDiff, &parse_as<EnvDiffOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvScaffold, &parse_as<EnvScaffoldOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvDownload, &parse_as<EnvDownloadOptions>},
    std::pair<CommandId, Parse>{CommandId::kEnvDelete, &parse_as<EnvDeleteOptions>},
    std::pair<CommandId, Parse>{CommandId::kDaemonStart, &parse_as<DaemonStartOptions>},
    std::pair<CommandId, Parse>{CommandId::kDaemonStop, &parse_as<DaemonStopOptions>},
    std::pair<CommandId, Parse>{CommandId::kDaemonStatus, &parse_as<DaemonStatusOptions>},
    std::pair<CommandId, Parse>{CommandId::kDaemonLogs, &parse_as<DaemonLogsOptions>},
    std::pair<CommandId, Parse>{CommandId::kDoctor, &parse_as<DoctorOptions>},
    std::pair<CommandId, Parse>{CommandId::kGc, &parse_as<GcOptions>},
    std::pair<CommandId, Parse>{CommandId::kFsck, &parse_as<FsckOptions>},
    std::pair<CommandId, Parse>{CommandId::kSql, &parse_as<SqlOptions>},
    std::pair<CommandId, Parse>{CommandId::kBackup, &parse_as<BackupOptions>},
    std::pair<CommandId, Parse>{CommandId::kTensorboard, &parse_as<TensorboardOptions>},
};

}  // namespace

Command parse_arguments(CommandId id, const std::string& name, const std::string& description,
                        std::span<const std::string> arguments, GlobalOptions& global) {
  for (const auto& [known, parse] : kParsers)
    if (known == id) return parse(name, description, arguments, global);
  throw Error(ErrorCode::kInternal, "unknown command");
}

}  // namespace runner::cli
