// POST /v1/runs: everything the user typed, as typed. Parsing of durations, sizes and mounts is the pipeline's, so that
// the command line, the Python package and curl are judged by one set of rules.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::api {

struct Submission {
  std::optional<std::string> script;
  std::optional<std::vector<std::string>> arguments;
  std::optional<std::vector<std::string>> command;
  std::string source_directory;            // absolute
  bool source_directory_explicit = false;  // named by --source-dir: $HOME and / are then allowed
  std::optional<std::string> config;
  std::optional<std::string> experiment;
  std::optional<std::string> name;
  std::map<std::string, std::optional<std::string>> tags;
  std::map<std::string, std::string> properties;
  std::optional<std::string> parent_run_id;
  std::optional<std::string> python;
  std::optional<std::string> image;
  // Files are relative to `caller_directory`.
  std::optional<std::string> requirements;
  std::optional<std::string> conda;
  std::optional<std::string> dockerfile;
  std::optional<std::string> environment;              // "NAME" or "NAME:VERSION" of a registered one
  std::map<std::string, std::string> build_arguments;  // of a Dockerfile
  bool pull = false;
  bool rebuild = false;
  std::optional<std::string> isolation;
  std::optional<std::string> max_run_duration;
  std::optional<std::string> grace;
  std::optional<std::string> cpus;
  std::optional<std::string> memory;
  std::optional<std::string> pids;
  std::optional<std::string> shm_size;
  std::optional<std::string> max_log_size;
  std::optional<std::string> gpus;
  std::optional<bool> best_effort_limits;
  std::optional<bool> requeue;
  std::optional<std::string> network;
  std::vector<std::string> mounts;
  std::map<std::string, std::string> environment_variables;
  std::vector<std::string> secrets;  // names, each once
  std::vector<std::string> after;    // "RUN", "RUN:ok" or "RUN:any"
  std::optional<int> priority;
  std::optional<std::string> idempotency_key;
  std::string caller_directory;
  std::map<std::string, std::string> caller_variables;
  // Values of secrets that the caller's variables hold. Never stored, never in a message.
  std::map<std::string, std::string> caller_secrets;

  // The request without `caller`, keys sorted: what "the same submission" means for an idempotency key.
  std::string canonical;
  // Of parse_child_submission: the name of the tree that the script has copied its source directory into.
  std::string source_tree;
};

// Error(kInvalid) naming the field for malformed JSON, a wrong type, an unknown or a missing field.
Submission parse_submission(std::string_view json);
// POST /v1/runs/{run}/rerun: the fields that may differ from the original's. The others, `sourceDirectory` first of
// all, are Error(kInvalid).
Submission parse_overrides(std::string_view json);
// POST /v1/runs/{run}/submit on the run socket: `sourceTree` instead of `sourceDirectory`. Error(kPermission) for what
// a script does not decide (docs/decisions/run-history.md, 6), naming the member.
Submission parse_child_submission(std::string_view json);

}  // namespace runner::api
