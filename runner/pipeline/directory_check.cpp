#include "runner/pipeline/directory_check.hpp"

#include <algorithm>
#include <optional>
#include <system_error>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/shim/last_look.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"
#include "snapshot/checkout_record.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

// How long the directory of a run that has ended, or was deleted since, may be on its way out: a container of an Engine
// is removed first.
constexpr auto kClearing = std::chrono::minutes(10);

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    names.push_back(entry->path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

// "<run id>.<attempt>": what an attempt that gave way has left, on its way out.
std::string run_of(const std::string& name) {
  const auto dot = name.rfind('.');
  const bool attempt = dot != std::string::npos && dot + 1 < name.size() &&
                       name.find_first_not_of("0123456789", dot + 1) == std::string::npos;
  return attempt ? name.substr(0, dot) : name;
}

// A live run has a directory from its start to its end, unless nothing is executed for it.
bool must_have_directory(const RunRecord& run) {
  if (run.kind == RunKind::kChild) return false;
  const RunStatus status = run.status;
  return status == RunStatus::kRunning || status == RunStatus::kPaused || status == RunStatus::kFinalizing;
}

}  // namespace

std::vector<DirectoryProblem> DirectoryCheck::runs() const {
  std::vector<DirectoryProblem> problems;
  for (const std::string& name : names_in(data_.runs())) {
    tick_();
    if (name.starts_with(os::DataDirectory::kHandedOver)) continue;  // is being read; else the next start removes it
    check_directory(name, problems);
  }
  const auto told_as_rows = [](const std::string&, const std::string&) {};
  for (const RunRecord& run : history_.unfinished(told_as_rows)) {
    if (!must_have_directory(run) || is_there(data_.run(run.id).root())) continue;
    tick_();
    const RunRecord now = history_.get(run.id);
    if (must_have_directory(now) && now.attempt == run.attempt)
      problems.push_back({.text = "run " + run.id + ": is " + std::string(to_string(now.status)) +
                                  ", and has no directory in runs/: the next start of the daemon ends it or begins it "
                                  "anew",
                          .runs = {run.id}});
  }
  return problems;
}

void DirectoryCheck::check_directory(const std::string& name, std::vector<DirectoryProblem>& problems) const {
  const std::string id = run_of(name);
  std::optional<RunRecord> run;
  try {
    run = history_.get(id);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) return;  // the row cannot be read, which is told as such
    if (error.code() != ErrorCode::kNotFound) throw;
  }
  if (!is_there(data_.runs() / name)) return;
  const auto clearing = [](const std::optional<UtcTime>& since) { return since && utc_now() - *since <= kClearing; };
  if (!run) {
    if (clearing(history_.removed_at(id))) return;
    problems.push_back(
        {.text = "runs/" + name + ": belongs to no run; the next start of the daemon removes it", .runs = {}});
  } else if (is_final(run->status)) {
    if (run->ended && !clearing(run->ended))
      problems.push_back(
          {.text = "runs/" + name + ": its run has ended; the next start of the daemon removes it", .runs = {id}});
  } else if (name == id) {
    check_records(*run, problems);
  }
}

void DirectoryCheck::check_records(const RunRecord& run, std::vector<DirectoryProblem>& problems) const {
  const os::RunDirectory directory = data_.run(run.id);
  const auto reads = [&](const fs::path& file, const auto& read) {
    if (!is_there(file)) return;
    try {
      read(directory);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNotFound || !is_there(file)) return;  // cleared away meanwhile
      problems.push_back(
          {.text = "runs/" + run.id + "/" + file.filename().string() + ": cannot be read: " + error.message(),
           .runs = {run.id}});
    }
  };
  reads(directory.spec(), shim::read_spec);
  reads(directory.claim(), shim::read_claim);
  reads(directory.started(), shim::check_started);
  reads(directory.ended(), shim::read_ended);
  reads(directory.pause(), shim::read_pause);
  reads(directory.cancel(), shim::read_cancel);
}

std::vector<store::EnvironmentBuild> DirectoryCheck::lost_builds(const store::Environments& environments) const {
  std::vector<store::EnvironmentBuild> lost;
  for (store::EnvironmentBuild& build : environments.builds()) {
    tick_();
    if (!build.directory.empty() && !is_there(data_.environments() / build.directory)) lost.push_back(std::move(build));
  }
  return lost;
}

std::vector<std::string> DirectoryCheck::broken_checkouts() const {
  std::vector<std::string> broken;
  for (const std::string& name : names_in(data_.checkouts())) {
    tick_();
    if (name.starts_with(".tmp-")) continue;
    try {
      const auto record = os::read_file_if_exists(data_.checkouts() / name / "record");
      if (Hash::from_hex(name) && record && snapshot::decode_record(*record)) continue;
    } catch (const Error&) {
      // no file that could be read: said below
    }
    if (is_there(data_.checkouts() / name)) broken.push_back(name);
  }
  return broken;
}

}  // namespace runner::pipeline
