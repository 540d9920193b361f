// A script submits a run: the tree that it has copied its source into → snapshot → the run's row. It gets what its
// parent has, or less, runs within that, and is told nothing of the machine that its parent does not see.
#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "runner/api/run_requests.hpp"
#include "runner/collect/source_tree.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/admission.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/script_reach.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kMostNested = 8;      // runs above it
constexpr std::size_t kMostWaiting = 1000;  // within one run

// Of the daemon's, beside the directories of runs; goes when this does, or with the next start.
class Aside {
 public:
  explicit Aside(std::filesystem::path path) : path_(std::move(path)) { os::make_directories(path_); }
  ~Aside() {
    try {
      os::remove_tree(path_);
    } catch (const std::exception&) {  // later, then
    }
  }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

void Pipeline::require_place_within(const std::string& asker, const std::string& parent) const {
  if (history_.lineage(parent).size() > kMostNested)
    throw Error(ErrorCode::kPermission, "submit_child: runs nest " + std::to_string(kMostNested) + " deep at most");
  const auto waiting = scheduler_->state().waiting;
  const auto count =
      std::count_if(waiting.begin(), waiting.end(), [&](const auto& one) { return one.within == asker; });
  if (count >= static_cast<std::ptrdiff_t>(kMostWaiting))
    throw Error(ErrorCode::kConflict,
                "submit_child: " + std::to_string(kMostWaiting) + " runs of " + asker + " wait already",
                "wait for some of them");
}

// Mounts are resolved when a run starts: in a directory that its script can write to, one could be made to lead
// anywhere by then.
void Pipeline::refuse_what_its_script_can_move(const RunRecord& owner) const {
  std::vector<std::filesystem::path> writable, sources;
  for (const Mount& mount : owner.definition.mounts) {
    sources.emplace_back(mount.source);
    if (mount.writable) writable.emplace_back(mount.source);
  }
  if (owner.definition.isolation != Isolation::kDocker)
    for (const std::string& cache : configuration_.cache_directories)
      sources.push_back(std::filesystem::path(account_.home) / cache);
  for (const std::filesystem::path& source : sources)
    if (leads_through(source, writable))
      throw Error(ErrorCode::kPermission,
                  "submit_child: 'mounts': " + source.string() + " lies in what this script can write to",
                  "mount directories side by side, not one in another");
}

// The run that `asker`'s script asks for waits for runs below `asker` only.
void Pipeline::refuse_foreign_dependencies(const std::string& asker, const RunDefinition& definition) const {
  for (const auto& [name, end] : definition.after) {
    std::vector<std::string> lineage;
    try {
      lineage = history_.lineage(name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
    if (name == asker || std::find(lineage.begin(), lineage.end(), asker) == lineage.end())
      throw Error(ErrorCode::kNotFound, "submit_child: 'after': no run '" + name + "' below this one",
                  "a script names its own children, by their whole ids");
  }
}

Pipeline::Submitted Pipeline::submit_child(const std::string& asker, const std::string& parent,
                                           const api::Submission& submission) {
  sandbox_.expect_run();
  const auto turn = submit_turns_.take(asker);  // each may take as much of the disk as a tree may have
  const RunRecord owner = history_.get(asker);  // whose script it is: `parent` is it, or a child that it says of itself
  Admission admission = admit_child(owner, submission, default_secrets_file(),
                                    [this](const std::string& name) { return find_registered(name); });
  RunRecord& run = admission.run;
  const auto kept_of_log = [this](const RunDefinition& definition) {
    const auto bytes = log_limit_of(definition);
    return bytes == RunDefinition::kUnlimited ? std::nullopt : bytes;
  };
  const auto most = kept_of_log(owner.definition), wanted = kept_of_log(run.definition);
  if (most && (!wanted || *wanted > *most)) throw more_than_parent("'maxLogSize'");
  run.parent = parent;
  run.definition.source_directory = owner.definition.source_directory;
  run.definition.within = asker;
  const std::string of_parent = "submit_child of " + parent + "\n";
  run.submission_digest = snapshot::sha256(of_parent + submission.canonical);
  // A name space of its own: the answer to another's key would show another's run.
  if (run.idempotency_key) run.idempotency_key->insert(0, of_parent);

  const collect::HandedOverTrees trees(data_.run(asker).trees());
  const Aside aside(data_.handed_over(api::new_uuid4()));
  if (auto repeated = find_repeated(run)) {
    trees.remove(submission.source_tree, aside.path());
    return std::move(*repeated);
  }
  const auto claim = claim_of(asker);  // the directory may be an earlier attempt's
  if (!claim || claim->attempt != owner.attempt)
    throw Error(ErrorCode::kConflict, "run " + asker + " was started again: this attempt gets no more children");
  history_.require_room();
  require_place_within(asker, parent);
  refuse_foreign_dependencies(asker, run.definition);
  resolve_dependencies(run.definition);
  settle_gpus(run.definition);
  std::vector<std::string> warnings;
  refuse_what_its_script_can_move(owner);
  admission.caller = own_caller();
  run.environment = environment_again(owner, admission, warnings);
  admission.caller = {};
  if (!is_prepared(run))
    throw Error(ErrorCode::kUnavailable, "submit_child: its environment is not built",
                "a script has none built, for that runs outside of a sandbox: submit any run with it from outside");
  std::move(admission.notices.begin(), admission.notices.end(), std::back_inserter(warnings));

  trees.copy_source(submission.source_tree, aside.path() / "source", stopping_.get_token());
  const auto hold = content_.hold();  // until the row below names it, `gc` leaves what is frozen here alone
  const snapshot::Options options{
      .source = aside.path() / "source", .data_directory = {}, .stat_cache = {}, .alone = true};
  auto frozen = snapshot::take(options, content_);
  require_script(content_, frozen.id, run.definition, options);
  run.snapshot = frozen.id;
  run.properties["ContentSnapshotId"] = frozen.id.hex();
  std::move(frozen.warnings.begin(), frozen.warnings.end(), std::back_inserter(warnings));
  Submitted submitted =
      accept(std::move(admission), std::move(warnings), store::History::Asker{.run = asker, .attempt = owner.attempt});
  trees.remove(submission.source_tree, aside.path());
  return submitted;
}

}  // namespace runner::pipeline
