#include "runner/pipeline/fsck.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/content_repair.hpp"
#include "runner/pipeline/directory_check.hpp"
#include "runner/pipeline/reference_check.hpp"
#include "snapshot/checkout_directory.hpp"
#include "snapshot/stat_cache_source.hpp"
#include "snapshot/tree_object.hpp"
#include "store/content_check.hpp"
#include "store/database_check.hpp"
#include "store/digest.hpp"
#include "store/history_check.hpp"

namespace runner::pipeline {
namespace {

// Why a damaged checkout stays.
constexpr std::string_view kLastCopy =
    "; it stays, for the store cannot give its snapshot again: copy from it what you need";

constexpr int kRounds = 8;  // of repair: a tree that is back shows what is missing below it

class EverythingCheck {
 public:
  EverythingCheck(store::ContentStore& content, store::History& history, snapshot::Checkouts& checkouts,
                  const os::DataDirectory& data, const FsckOptions& options, const Doing& doing)
      : content_(content), history_(history), checkouts_(checkouts), data_(data), options_(options), doing_(doing) {}

  api::FsckReport run() {
    report_.repair = options_.repair;
    now_doing("checking the databases");
    check_rows();
    check_contents();
    check_references();
    if (!references_->faults().empty() && !contents_are_untouchable_)
      attempt_write([&] { content_.distrust_caches(); });  // what is missing is read again with the next submit
    if (may_write_contents()) attempt_write([&] { repair(); });
    if (may_write_history()) attempt_write([&] { correct_artifact_sizes(); });
    report_references();
    report_unreferenced();
    check_checkouts();
    check_stat_caches();
    attempt([&] { check_directories(); });
    tell_each_once();
    return std::move(report_);
  }

 private:
  void now_doing(std::string what) {
    what_ = std::move(what);
    tick_();
  }

  // One broken page stands in the way of several looks.
  void tell_each_once() {
    std::set<std::pair<std::string, std::vector<std::string>>> told;
    std::erase_if(report_.problems, [&](const api::FsckProblem& problem) {
      return !problem.repaired && !told.emplace(problem.text, problem.runs).second;
    });
  }

  bool may_write_contents() const { return options_.repair && !contents_are_untouchable_; }
  bool may_write_history() const { return options_.repair && !history_is_untouchable_; }

  // What one row says of others, and what SQLite says of its indices. With `repair` both are asked twice: what was
  // there only before is repaired.
  void check_rows() {
    now_doing("comparing the rows of the history");
    using Problems = std::vector<std::pair<std::string, std::vector<std::string>>>;
    const auto ask = [&] {
      Problems problems;
      const auto of_history = history_.check_file();
      const auto of_contents = content_.check(tick_)->file();
      history_is_untouchable_ = history_is_untouchable_ || store::is_damaged_in_structure(of_history);
      contents_are_untouchable_ = contents_are_untouchable_ || store::is_damaged_in_structure(of_contents);
      for (const auto& found : {of_history, of_contents})
        for (const std::string& problem : found) problems.emplace_back(problem, std::vector<std::string>());
      for (store::RowProblem& problem : history_.check_rows(tick_)->problems())
        problems.emplace_back(std::move(problem.text), std::move(problem.runs));
      return problems;
    };
    const Problems before = ask();
    Problems now = before;
    if (may_write_history() && !before.empty()) {
      attempt_write([&] { history_.check_rows(tick_)->repair(); });
      now = ask();
      for (const auto& problem : before)
        if (std::find(now.begin(), now.end(), problem) == now.end()) report(problem.first, problem.second, true);
    }
    for (const auto& [text, runs] : now) report(text, runs, false);
    attempt([&] {
      const store::LedgerHead head = history_.check_rows(tick_)->ledger();
      report_.ledger_entries = head.entries;
      report_.ledger_head = head.hash.hex();
    });
  }

  void report(const std::string& text, const std::vector<std::string>& runs, bool repaired) {
    report_.problems.push_back(
        {.text = text, .runs = runs, .run_count = static_cast<std::int64_t>(runs.size()), .repaired = repaired});
  }

  // A content that is what its name says has the size that it has: an artifact that says another is wrong.
  void correct_artifact_sizes() {
    bool corrected = false;
    const auto rows = history_.check_rows(tick_);
    history_.for_each_run_contents([&](const store::History::RunContents& run) {
      tick_();
      for (const Artifact& artifact : run.artifacts) {
        if (damaged_.contains(artifact.sha256) || !content_.contains(artifact.sha256)) continue;
        const std::int64_t bytes = content_.size(artifact.sha256);
        if (bytes == artifact.bytes || !is_readable(artifact.sha256)) continue;
        rows->correct_artifact_size(run.id, artifact.name, bytes);
        corrected = true;
      }
    });
    if (!corrected) return;
    const auto faults = references_->faults();
    before_repair_.insert(before_repair_.end(), faults.begin(), faults.end());
    check_references();
  }

  void check_directories() {
    now_doing("looking through directories");
    const DirectoryCheck check(history_, data_, tick_);
    for (const DirectoryProblem& problem : check.runs()) report(problem.text, problem.runs, false);
    for (const store::EnvironmentBuild& build : check.lost_builds(environments_)) {
      if (may_write_history()) attempt_write([&] { environments_.forget_build(build.id); });
      report("environment " + build.environment.hex().substr(0, 16) + ": its directory envs/" + build.directory +
                 " is gone; it is built again when it is needed",
             {}, may_write_history() && !history_.damage());
    }
  }

  // What a database cannot give at all is a problem, not the end of the check.
  template <class Step>
  void attempt(const Step& step) {
    try {
      step();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInternal) throw;
      report_.problems.push_back({.text = error.message(), .runs = {}});
    }
  }

  // The same of what writes: a database that has been found damaged is only read.
  template <class Step>
  void attempt_write(const Step& step) {
    attempt([&] {
      try {
        step();
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kUnavailable || !(history_.damage() || content_.damage())) throw;
        report(error.message(), {}, false);
      }
    });
  }

  void check_contents() {
    now_doing("reading every content");
    attempt([&] {
      const auto check = content_.check(tick_);
      const auto progress = check->contents([&](const Hash& hash, const std::string& why) { damaged_[hash] = why; });
      report_.contents = progress.contents;
      report_.content_bytes = progress.bytes;
    });
  }

  void check_references() {
    now_doing("following what runs refer to");
    references_ = std::make_unique<ReferenceCheck>(
        content_, [this](const Hash& hash) { return damaged_.contains(hash); }, tick_);
    report_.runs = 0;
    attempt([&] {
      history_.for_each_run_contents([&](const store::History::RunContents& run) {
        ++report_.runs;
        references_->check(run);
      });
    });
    report_.trees = references_->trees();
  }

  // Problems as they are now, and those of earlier rounds that are none any more.
  void report_references() {
    std::set<Hash> left;
    for (const ReferenceCheck::Fault& fault : references_->faults()) {
      left.insert(fault.content);
      report_.problems.push_back(problem_of(fault, false));
    }
    for (const ReferenceCheck::Fault& fault : before_repair_)
      if (left.insert(fault.content).second) report_.problems.push_back(problem_of(fault, true));
  }

  static api::FsckProblem problem_of(const ReferenceCheck::Fault& fault, bool repaired) {
    const bool is_tree = fault.type == snapshot::EntryType::kDirectory;
    return {.text = (is_tree ? "tree " : "content ") + fault.content.hex() + ": " + fault.why + ": " + fault.place,
            .runs = fault.runs,
            .run_count = fault.run_count,
            .repaired = repaired};
  }

  void report_unreferenced() {
    std::unordered_set<Hash, HashHasher> unreferenced;
    for (const auto& [hash, why] : damaged_) unreferenced.insert(hash);
    for (const auto& faults : {references_->faults(), before_repair_})
      for (const ReferenceCheck::Fault& fault : faults) unreferenced.erase(fault.content);
    attempt([&] {
      // A damaged piece shows in the content it belongs to.
      for (const auto& [piece, owner] : content_.check(tick_)->owners_of(unreferenced))
        if (damaged_.contains(owner)) unreferenced.erase(piece);
    });
    for (const Hash& hash : unreferenced)
      if (content_.contains(hash))
        report_.problems.push_back(
            {.text = "content " + hash.hex() + ": damaged; no run refers to it: `runner gc` frees it", .runs = {}});
  }

  // Repair
  // -------------------------------------------------------------------------------------------------------------

  void repair() {
    for (int round = 0; round < kRounds && !references_->faults().empty(); ++round) {
      const auto faults = references_->faults();
      before_repair_.insert(before_repair_.end(), faults.begin(), faults.end());
      read_again(faults);
      const std::size_t were = faults.size();
      std::erase_if(damaged_, [this](const auto& damaged) { return is_readable(damaged.first); });
      check_references();
      const bool same = references_->faults().size() == were &&
                        std::equal(faults.begin(), faults.end(), references_->faults().begin(),
                                   [](const auto& a, const auto& b) { return a.content == b.content; });
      if (same) break;  // nothing more can be had
    }
  }

  // Now, and as a whole.
  bool is_readable(const Hash& hash) const {
    try {
      store::Sha256::Stream whole(sha256_);
      content_.read(hash, 0, -1, [&](std::span<const std::byte> piece) {
        whole.update(piece);
        tick_();
      });
      return whole.finish() == hash;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
      return false;
    }
  }

  void read_again(const std::vector<ReferenceCheck::Fault>& faults) {
    now_doing("reading again what can be had");
    ContentRepair::Wanted wanted;
    for (const ReferenceCheck::Fault& fault : faults) {
      if (content_.contains(fault.content)) content_.distrust(fault.content);  // one that is missing: see `run`
      wanted.insert(fault.content);
    }
    ContentRepair repair(content_, wanted);
    std::set<Hash> done;
    std::set<std::string> sources_of_trees;
    history_.for_each_run_contents([&](const store::History::RunContents& run) {
      tick_();
      if (!run.snapshot) return;
      std::optional<std::string> source;
      references_->for_each_place(*run.snapshot, [&](const std::string& path, const ReferenceCheck::Fault& fault) {
        if (!source) source = source_of(run.id);
        std::vector<std::filesystem::path> roots = layers_of(*run.snapshot);
        if (fault.type == snapshot::EntryType::kDirectory) {
          for (const auto& layer : roots) repair.offer_directory(layer / path);
          if (!source->empty()) sources_of_trees.insert(*source);
          return;
        }
        if (done.contains(fault.content)) return;
        if (!source->empty()) roots.emplace_back(*source);
        for (const auto& root : roots)
          if (repair.offer(root / path, fault.content, fault.bytes, fault.type)) {
            done.insert(fault.content);
            break;
          }
      });
    });
    for (const std::string& source : sources_of_trees) take_again(source, repair);
  }

  // Empty: the row that says it is damaged, too.
  std::string source_of(const std::string& run) const {
    try {
      return history_.get(run).definition.source_directory;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
      return {};
    }
  }

  // Where a checkout's real files are: its own layer and those below. Whatever is read there counts only under its
  // hash.
  std::vector<std::filesystem::path> layers_of(const Hash& snapshot) const {
    const snapshot::CheckoutDirectory directory(data_.checkouts());
    std::vector<std::filesystem::path> layers;
    for (const auto& checkout : checkouts_.list()) {
      if (checkout.snapshot != snapshot) continue;
      layers.push_back(directory.tree(snapshot));
      for (const Hash& below : checkout.below) layers.push_back(directory.tree(below));
    }
    return layers;
  }

  // Trees that the source directory still gives. That it gives others, too, is no problem of ours.
  void take_again(const std::string& source, ContentRepair& repair) {
    try {
      snapshot::take({.source = source, .data_directory = data_.home(), .stat_cache = {}}, repair);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNoSpace) throw;
    }
  }

  // One that says nothing of itself any more: no daemon finds it again.
  void check_checkout_records() {
    const std::vector<std::string> broken = DirectoryCheck(history_, data_, tick_).broken_checkouts();
    for (const std::string& name : broken) {
      const auto snapshot = Hash::from_hex(name);
      const auto all = checkouts_.list();
      const bool listed =
          snapshot && std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.snapshot == *snapshot; });
      const bool kept = options_.repair && listed && !comes_back(*snapshot);
      const bool gone = options_.repair && listed && !kept && checkouts_.evict(*snapshot);
      report("checkout " + name + ": its record cannot be read" +
                 (kept     ? std::string(kLastCopy)
                  : listed ? ""
                           : "; the next start of the daemon removes it"),
             {}, gone);
    }
  }

  // Whether the store gives every content of the snapshot now. What was read well before may have been damaged since.
  bool comes_back(const Hash& snapshot) const {
    std::unordered_set<Hash, HashHasher> seen{snapshot};
    std::vector<Hash> trees{snapshot};
    while (!trees.empty()) {
      const Hash tree = trees.back();
      trees.pop_back();
      if (!is_readable(tree)) return false;
      try {
        for (const snapshot::TreeEntry& entry : snapshot::decode_tree(content_.read_all(tree))) {
          if (!seen.insert(entry.content).second) continue;
          if (entry.type == snapshot::EntryType::kDirectory)
            trees.push_back(entry.content);
          else if (!is_readable(entry.content))
            return false;
        }
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kInternal && error.code() != ErrorCode::kNotFound) throw;
        return false;
      }
    }
    return true;
  }

  // A damaged one is thrown away if it comes back from the store.
  void check_checkouts() {
    now_doing("comparing checkouts with their snapshots");
    check_checkout_records();
    for (const auto& checkout : checkouts_.list()) {
      tick_();
      std::vector<std::string> differences;
      try {
        differences = checkouts_.verify(checkout.snapshot);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kNotFound)
          continue;                                       // evicted meanwhile, or its snapshot is in no store any more
        if (error.code() != ErrorCode::kInternal) throw;  // a damaged snapshot is told above
        continue;
      }
      ++report_.checkouts;
      if (differences.empty()) continue;
      std::string text = "checkout " + checkout.snapshot.hex() + ": " + differences.front();
      if (differences.size() > 1) text += " (and " + std::to_string(differences.size() - 1) + " more)";
      if (options_.repair && checkout.in_use) text += "; a live run uses it: try again when it has ended";
      const bool kept = options_.repair && !checkout.in_use && !comes_back(checkout.snapshot);
      if (kept) text += kLastCopy;
      const bool gone = options_.repair && !kept && checkouts_.evict(checkout.snapshot);
      report_.problems.push_back({.text = text, .runs = {}, .repaired = gone});
    }
  }

  void check_stat_caches() {
    now_doing("checking stat caches");
    std::error_code missing;
    for (const auto& entry : std::filesystem::directory_iterator(data_.cache(), missing)) {
      const std::string name = entry.path().filename();
      if (!name.starts_with("stat-") || snapshot::stat_cache_source(entry.path())) continue;
      std::error_code gone;
      if (!std::filesystem::exists(entry.path(), gone)) continue;
      if (options_.repair) os::remove_tree(entry.path());
      report_.problems.push_back({.text = "stat cache " + entry.path().string() + ": damaged; it is only a cache",
                                  .runs = {},
                                  .repaired = options_.repair});
    }
  }

  store::ContentStore& content_;
  store::History& history_;
  store::Environments environments_{history_};
  snapshot::Checkouts& checkouts_;
  const os::DataDirectory& data_;
  const FsckOptions options_;
  const Doing& doing_;
  const store::Sha256 sha256_;
  bool history_is_untouchable_ = false;    // runner.db is damaged in its structure
  bool contents_are_untouchable_ = false;  // content.db is
  std::string what_;
  const std::function<void()> tick_ = [this] { doing_(what_); };
  api::FsckReport report_;
  std::unordered_map<Hash, std::string, HashHasher> damaged_;
  std::unique_ptr<ReferenceCheck> references_;
  std::vector<ReferenceCheck::Fault> before_repair_;
};

}  // namespace

api::FsckReport check_everything(store::ContentStore& content, store::History& history, snapshot::Checkouts& checkouts,
                                 const os::DataDirectory& data, const FsckOptions& options, const Doing& doing) {
  return EverythingCheck(content, history, checkouts, data, options, doing).run();
}

}  // namespace runner::pipeline
