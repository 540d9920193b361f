// What a script submits: its parent's run once more, with other code, and never more than its parent may.
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/pipeline/admission.hpp"

namespace runner::pipeline {

Error more_than_parent(const std::string& what) {
  return Error(ErrorCode::kPermission, "submit_child: " + what + ": more than its parent has",
               "a child may have less than its parent, never more");
}

namespace {

template <class T>
void refuse_more(const std::optional<T>& wanted, const std::optional<T>& parents, const char* what) {
  if (parents && (!wanted || *wanted > *parents)) throw more_than_parent(what);
}

// As text: whether a path exists on this machine is not the script's to know. Only of what its parent has.
void narrow_mounts(const std::vector<std::string>& wanted, RunDefinition& definition) {
  for (std::string text : wanted) {
    const std::string shown = "'mounts', " + text;
    std::optional<bool> writable;
    for (const auto& [suffix, value] : {std::pair{":ro", false}, std::pair{":rw", true}})
      if (text.ends_with(suffix)) {
        writable = value;
        text.resize(text.size() - 3);
        break;
      }
    const auto mount = std::find_if(definition.mounts.begin(), definition.mounts.end(),
                                    [&](const Mount& one) { return one.source + ":" + one.target == text; });
    if (mount == definition.mounts.end() || (writable.value_or(false) && !mount->writable))
      throw more_than_parent(shown);
    mount->writable = mount->writable && writable.value_or(false);
  }
}

// `wanted` is not what the parent has asked for.
void refuse_more_gpus(const GpuRequest& wanted, const RunRecord& parent) {
  const bool all = !wanted.count && wanted.ids.empty();
  const auto has = [&](const std::string& id) {
    return std::find(parent.gpus.begin(), parent.gpus.end(), id) != parent.gpus.end();
  };
  if ((all && parent.definition.gpus) || wanted.count.value_or(0) > static_cast<int>(parent.gpus.size()) ||
      !std::all_of(wanted.ids.begin(), wanted.ids.end(), has))
    throw more_than_parent("'gpus'");
}

void refuse_more(const RunDefinition& child, const RunRecord& parent) {
  const RunDefinition& most = parent.definition;
  if (child.isolation != most.isolation) throw more_than_parent("'isolation' or 'environment'");
  refuse_more(child.max_run_duration, most.max_run_duration, "'maxRunDuration'");
  refuse_more(child.cpus, most.cpus, "'cpus'");
  refuse_more(child.memory_bytes, most.memory_bytes, "'memory'");
  refuse_more(child.pids, most.pids, "'pids'");
  refuse_more(child.shm_bytes, most.shm_bytes, "'shmSize'");
  if (child.grace > most.grace) throw more_than_parent("'grace'");
  if (child.network && !most.network) throw more_than_parent("'network'");
  if (child.best_effort_limits && !most.best_effort_limits) throw more_than_parent("'bestEffortLimits'");
  if (child.requeue && !most.requeue) throw more_than_parent("'requeue'");
  if (child.gpus && child.gpus != most.gpus) refuse_more_gpus(*child.gpus, parent);
}

// Of the parent's secrets those whose values can be had: what its submitter's variables held is stored nowhere.
RunRecord with_known_secrets(RunRecord parent, const std::filesystem::path& file, std::vector<std::string>& notices) {
  std::erase_if(parent.definition.secrets, [&](const std::string& name) {
    try {
      find_secrets({name}, {}, file);
      return false;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalid) throw;
      notices.push_back("secret " + name + ": only its parent has it: it is not in the secrets file");
      return true;
    }
  });
  return parent;
}

std::string script_in_source(const std::string& script) {
  const std::filesystem::path path = std::filesystem::path(script).lexically_normal();
  if (script.empty() || path.is_absolute() || *path.begin() == ".." || path == ".")
    throw Error(ErrorCode::kInvalid, "submit_child: script '" + script + "': not in the source",
                "name it relative to the source directory");
  return path.string();
}

}  // namespace

Admission admit_child(const RunRecord& parent, const api::Submission& submission,
                      const std::filesystem::path& secrets_file, const FindRegistered& registered) {
  if (submission.script && submission.command)
    throw Error(ErrorCode::kInvalid, "both a script and a command were given", "give one of them");
  if (submission.isolation && isolation_from(*submission.isolation) != parent.definition.isolation)
    throw more_than_parent("'isolation'");
  if (submission.experiment && *submission.experiment != parent.experiment)
    throw Error(ErrorCode::kPermission, "submit_child: 'experiment': a child is in that of its parent", "leave it out");
  if (submission.priority.value_or(parent.queue.priority) > parent.queue.priority) throw more_than_parent("'priority'");

  api::Submission changes = submission;
  for (auto* own : {&changes.script, &changes.isolation, &changes.experiment, &changes.name}) own->reset();
  changes.arguments.reset();
  changes.command.reset();
  changes.mounts.clear();
  changes.tags.clear();
  changes.properties.clear();
  changes.priority = submission.priority.value_or(parent.queue.priority);
  std::vector<std::string> notices;
  Admission admission =
      admit_again(with_known_secrets(parent, secrets_file, notices), changes, secrets_file, registered);
  std::move(notices.begin(), notices.end(), std::back_inserter(admission.notices));
  RunRecord& run = admission.run;
  RunDefinition& definition = run.definition;
  definition.script.clear();
  definition.command.clear();
  if (submission.command) {
    if (submission.command->empty() || submission.command->front().empty())
      throw Error(ErrorCode::kInvalid, "submit_child: 'command': nothing to run");
    definition.command = *submission.command;
  } else {
    definition.script = script_in_source(submission.script.value_or(""));
  }
  definition.arguments = submission.arguments.value_or(std::vector<std::string>{});
  narrow_mounts(submission.mounts, definition);
  refuse_more(definition, parent);
  admission.interpreter_required =
      definition.image.empty() && std::filesystem::path(definition.script).extension() == ".py";
  run.name = submission.name.value_or("");
  run.tags = submission.tags;
  run.properties = submission.properties;
  return admission;
}

}  // namespace runner::pipeline
